package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// stream is the second half of the generator's 128-bit state, so that a Seed of
// 0 does not start PCG from all zeros. Changing it changes every sampled text.
const stream = 0x9e3779b97f4a7c15

// Sampler chooses tokens for one sequence. It owns its generator and scratch,
// and keeps no reference to the logits or the context it is given.
type Sampler struct {
	params     Params
	generator  *rand.PCG
	scores     []float32   // [vocab] logits after the repetition penalty; nil without one
	candidates []candidate // ids that survive the filters, ascending
	histogram  histogram
}

// A candidate is a token that may still be drawn.
type candidate struct {
	id     int32
	score  float32 // logit after the repetition penalty, before temperature
	weight float64 // probability relative to the likeliest token's, which has 1
}

// New returns a Sampler at the start of p.Seed's sequence of draws.
func New(p Params) (*Sampler, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Sampler{params: p, generator: rand.NewPCG(p.Seed, stream)}, nil
}

// Sample returns the next token. logits is [vocab]; previous holds the ids of the
// whole context, prompt included, in any order, and is read only where there is a
// repetition penalty. An error leaves the generator where it was.
func (s *Sampler) Sample(logits []float32, previous []int32) (int32, error) {
	candidates, likeliest, err := s.process(logits, previous)
	if err != nil {
		return -1, err
	}
	if s.params.Greedy() {
		return likeliest, nil
	}
	return draw(candidates, s.uniform()), nil
}

// Probs returns the distribution that [Sampler.Sample] would draw from, [vocab],
// in a new slice: 0 for removed tokens, one 1 where sampling is greedy. It takes
// nothing from the generator.
func (s *Sampler) Probs(logits []float32, previous []int32) ([]float64, error) {
	candidates, likeliest, err := s.process(logits, previous)
	if err != nil {
		return nil, err
	}
	probs := make([]float64, len(logits))
	if s.params.Greedy() {
		probs[likeliest] = 1
		return probs, nil
	}
	total := mass(candidates)
	for _, c := range candidates {
		probs[c.id] = c.weight / total
	}
	return probs, nil
}

// process applies every processor. It returns the surviving candidates, nil where
// sampling is greedy, and the likeliest token.
func (s *Sampler) process(logits []float32, previous []int32) ([]candidate, int32, error) {
	scores, err := s.penalise(logits, previous)
	if err != nil {
		return nil, -1, err
	}
	likeliest, err := scan(scores)
	if err != nil {
		return nil, -1, err
	}
	if s.params.Greedy() {
		return nil, likeliest, nil
	}
	candidates := s.topK(scores)
	weigh(candidates, scores[likeliest], s.params.Temperature)
	if s.params.limitsMass() {
		candidates = s.topP(candidates)
	}
	if s.params.MinP != 0 {
		candidates = minP(candidates, s.params.MinP)
	}
	return candidates, likeliest, nil
}

// penalise returns the logits after the repetition penalty: the caller's own
// where there is none, else a copy.
func (s *Sampler) penalise(logits []float32, previous []int32) ([]float32, error) {
	if !s.params.penalises() {
		return logits, nil
	}
	s.scores = append(s.scores[:0], logits...)
	penalty := s.params.RepetitionPenalty
	for i, id := range previous {
		if id < 0 || int(id) >= len(logits) {
			return nil, fmt.Errorf("sample: repetition penalty: previous[%d]: got id %d, want 0 to %d", i, id, len(logits)-1)
		}
		// From the logit, not the score: a repeated id is penalised once.
		if x := logits[id]; x < 0 {
			s.scores[id] = x * penalty
		} else {
			s.scores[id] = x / penalty
		}
	}
	return s.scores, nil
}

// scan returns the first of the largest scores and refuses what is not finite, in
// the one pass that greedy decoding takes.
func scan(scores []float32) (int32, error) {
	if len(scores) == 0 {
		return -1, fmt.Errorf("sample: logits: got none, want one for each vocabulary entry")
	}
	const exponent = 0x7f800000 // all set in NaN and infinities alone
	best, largest := 0, scores[0]
	for i, x := range scores {
		if math.Float32bits(x)&exponent == exponent {
			return -1, fmt.Errorf("sample: logit of id %d: got %v, want a finite number", i, x)
		}
		if x > largest {
			best, largest = i, x
		}
	}
	return int32(best), nil
}

// weigh sets each weight from its score. Temperature divides the distance from
// the largest score, in float64, so that no temperature overflows; the order of
// scores, all that top-k looks at, does not depend on it.
func weigh(candidates []candidate, largest, temperature float32) {
	for i := range candidates {
		c := &candidates[i]
		c.weight = math.Exp((float64(c.score) - float64(largest)) / float64(temperature))
	}
}

// uniform returns a number in [0, 1) of 53 random bits. It is spelled out because
// only the output of PCG itself is promised to stay the same across Go releases.
func (s *Sampler) uniform() float64 {
	return float64(s.generator.Uint64()>>11) * 0x1p-53
}

// draw returns the candidate in whose share of the mass u of [0, 1) falls.
func draw(candidates []candidate, u float64) int32 {
	target := u * mass(candidates)
	var id int32
	var sum float64
	for _, c := range candidates {
		if c.weight == 0 {
			continue
		}
		id = c.id
		sum += c.weight
		if sum > target {
			break
		}
	}
	return id
}

func mass(candidates []candidate) float64 {
	var sum float64
	for _, c := range candidates {
		sum += c.weight
	}
	return sum
}

// reserve empties the candidates and makes room for n.
func (s *Sampler) reserve(n int) []candidate {
	s.candidates = slices.Grow(s.candidates[:0], n)
	return s.candidates
}
