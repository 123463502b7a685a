package trace

import (
	"cmp"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Info says what a trace is of.
type Info struct {
	Model  string `json:"model"`
	Source string `json:"source_sha256"` // of the weights; empty for a synthetic trace
	Text   string `json:"text"`          // what was decoded, and by which predictor
	Layers int    `json:"layers"`
	FFN    int    `json:"ffn"` // units of a layer
	// Having is how many layers have units; 0: all.
	Having int `json:"having,omitempty"`
	// TopK is the most experts that a token wants of a layer, if units are experts.
	TopK int `json:"top_k,omitempty"`
	// Stride is the distance of neighbours in the pack, in bytes.
	Stride int64 `json:"stride"`
}

// InfoOf describes a trace of a pack's model, called model, on a text.
func InfoOf(p *pack.Pack, model, text string) Info {
	profile := p.Profile()
	i := Info{Model: model, Source: p.SourceSHA256(), Text: text, Layers: profile.Layers, FFN: profile.Units(), TopK: profile.MostTopK(), Stride: p.BundleStride()}
	for l := range profile.Layers {
		if profile.HasUnits(l) {
			i.Having++
			i.Stride = max(i.Stride, p.ExpertBytes(l))
		}
	}
	if i.Having == i.Layers {
		i.Having = 0
	}
	return i
}

// having is how many layers have units.
func (i Info) having() int { return cmp.Or(i.Having, i.Layers) }

// units is how many units all layers have.
func (i Info) units() int { return i.having() * i.FFN }

// Trace is the units that step after step wanted.
type Trace struct {
	Info
	Sets []Sets // [layers], each of the same number of steps
}

// Steps is the number of steps.
func (t *Trace) Steps() int {
	if len(t.Sets) == 0 {
		return 0
	}
	return t.Sets[0].Len()
}

// Wanted is the mean share of units that a step wanted.
func (t *Trace) Wanted() float64 {
	n := 0
	for i := range t.Sets {
		n += len(t.Sets[i].IDs)
	}
	return float64(n) / float64(max(1, t.Steps()*t.units()))
}

// Part is a copy of the steps from first to end-1.
func (t *Trace) Part(first, end int) *Trace {
	p := &Trace{Info: t.Info, Sets: make([]Sets, len(t.Sets))}
	for l, s := range t.Sets {
		for i := first; i < end; i++ {
			p.Sets[l].Add(s.At(i))
		}
	}
	return p
}

// Profile is the counts of the first steps of a trace, as if they were another
// text of the same kind, and the trace of the others.
func (t *Trace) Profile(steps int) (*cache.Counts, *Trace) {
	first := t.Part(0, steps)
	c := &cache.Counts{Tokens: steps, Neurons: make([][]uint32, t.Layers)}
	for l := range c.Neurons {
		c.Neurons[l] = first.Sets[l].Counts(t.FFN)
	}
	return c, t.Part(steps, t.Steps())
}

// Sets is one layer's sets of neurons, one for each step.
type Sets struct {
	IDs  []int32 // one step's after the other's
	Ends []int   // [steps] where a step's ids end
}

// Add appends the next step's set, whose ids are ascending.
func (s *Sets) Add(ids []int32) {
	s.IDs = append(s.IDs, ids...)
	s.Ends = append(s.Ends, len(s.IDs))
}

// Len is the number of steps.
func (s *Sets) Len() int { return len(s.Ends) }

// At is the set of a step. It is not to be changed.
func (s *Sets) At(step int) []int32 {
	from, to := s.span(step)
	return s.IDs[from:to:to]
}

// Wanted is the number of neurons of all steps.
func (s *Sets) Wanted() int { return len(s.IDs) }

// Until is the number of neurons of all steps before one.
func (s *Sets) Until(step int) int {
	if step == 0 {
		return 0
	}
	return s.Ends[step-1]
}

// Counts is how often each of ffn neurons was wanted.
func (s *Sets) Counts(ffn int) []uint32 {
	n := make([]uint32, ffn)
	for _, id := range s.IDs {
		n[id]++
	}
	return n
}

// span is the range of a step's ids.
func (s *Sets) span(step int) (from, to int) {
	return s.Until(step), s.Ends[step]
}
