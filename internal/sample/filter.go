package sample

import "math"

// topK returns the candidates whose score is at least the k-th largest, all of
// them where top-k is off. Weights are not yet set.
func (s *Sampler) topK(scores []float32) []candidate {
	k := s.params.TopK
	if k == 0 || k >= len(scores) {
		kept := s.reserve(len(scores))
		for i, x := range scores {
			kept = append(kept, candidate{id: int32(i), score: x})
		}
		return kept
	}
	lowest, _ := s.histogram.threshold(float64(k), func(h *histogram, d digit, prefix uint32) {
		for _, x := range scores {
			if key := keyOf(x); d.follows(key, prefix) {
				h[d.of(key)]++
			}
		}
	})
	kept := s.reserve(k)
	for i, x := range scores {
		if keyOf(x) >= lowest {
			kept = append(kept, candidate{id: int32(i), score: x})
		}
	}
	// Ties may have made append move to a larger array: keep that one.
	s.candidates = kept
	return kept
}

// topP keeps the candidates that have less than p of the mass above them: those
// over the threshold, and as many of the ties at it, from the highest id down, as
// it takes to reach p.
func (s *Sampler) topP(candidates []candidate) []candidate {
	// A share of the mass counts as p once it is p in float32, hence from half-way
	// to the next smaller float32 on.
	p := s.params.TopP
	enough := (float64(p) + float64(math.Nextafter32(p, 0))) / 2
	target := enough * mass(candidates)
	lowest, above := s.histogram.threshold(target, func(h *histogram, d digit, prefix uint32) {
		for _, c := range candidates {
			if key := keyOf(c.score); d.follows(key, prefix) {
				h[d.of(key)] += c.weight
			}
		}
	})
	first := len(candidates)
	for i := len(candidates) - 1; i >= 0; i-- {
		c := candidates[i]
		key := keyOf(c.score)
		if key < lowest || key == lowest && above >= target {
			continue
		}
		if key == lowest {
			above += c.weight
		}
		first--
		candidates[first] = c
	}
	return candidates[first:]
}

// minP keeps the candidates of at least p times the likeliest one's weight, which
// is 1.
func minP(candidates []candidate, p float32) []candidate {
	kept := candidates[:0]
	for _, c := range candidates {
		if float32(c.weight) >= p {
			kept = append(kept, c)
		}
	}
	return kept
}
