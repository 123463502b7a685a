package profile

import (
	"math"
	"math/rand/v2"

	"pgregory.net/rapid"
)

// zipf is the probabilities of n neurons that fall with rank to the power -a,
// none above 0.95, their mean as given.
func zipf(n int, a, mean float64) []float64 {
	p := make([]float64, n)
	for low, high := 0.0, 1e6; high-low > 1e-9; {
		c, sum := (low+high)/2, 0.0
		for i := range p {
			p[i] = min(0.95, c*math.Pow(float64(i+1), -a))
			sum += p[i]
		}
		if sum < mean*float64(n) {
			low = c
		} else {
			high = c
		}
	}
	return p
}

// draw is tokens independent sets of neurons with the given probabilities.
func draw(r *rand.Rand, p []float64, tokens int) sets {
	s := newSets(tokens, len(p))
	for t := range tokens {
		for i, v := range p {
			if r.Float64() < v {
				s.add(t, i)
			}
		}
	}
	return s
}

// anySets draws small sets of ffn neurons, from none to all of them.
func anySets(t *rapid.T, ffn, maxTokens int) sets {
	n := rapid.IntRange(1, maxTokens).Draw(t, "tokens")
	s := newSets(n, ffn)
	for token := range n {
		for _, id := range rapid.SliceOfN(rapid.IntRange(0, ffn-1), 0, ffn).Draw(t, "set") {
			s.add(token, id)
		}
	}
	return s
}

// members is the neurons of a token as a map.
func (s sets) members(token int) map[int32]bool {
	m := map[int32]bool{}
	for _, id := range s.appendTo(nil, token) {
		m[id] = true
	}
	return m
}
