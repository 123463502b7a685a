package synth

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/placement"
)

func TestFrequencies(t *testing.T) {
	for _, c := range []struct {
		ffn       int
		mean, hot float64
	}{
		{512, 0.0156, publishedHot}, {1000, 0.0536, publishedHot}, {3072, 0.033, publishedHot},
		{3072, leastActive, publishedHot}, {3072, mostActive * publishedHot, publishedHot}, {1000, 0.45, 0.43},
	} {
		p := frequencies(c.ffn, c.mean, c.hot)
		sum := 0.0
		for i, v := range p {
			sum += v
			if !(v > 0 && v <= placement.MostFrequent) || i > 0 && v > p[i-1] {
				t.Fatalf("%+v: rank %d: got %v after %v", c, i, v, p[max(0, i-1)])
			}
		}
		if got := sum / float64(c.ffn); math.Abs(got/c.mean-1) > 1e-3 {
			t.Errorf("%+v: got a mean of %v", c, got)
		}
		if got := shareOfHot(p, c.hot); math.Abs(got-placement.HotActive) > 0.01 {
			t.Errorf("%+v: the hottest %v have %v of all activations, want %v", c, c.hot, got, placement.HotActive)
		}
		dealt := shuffled(p, 1, 2)
		if slices.Equal(dealt, p) || slices.Equal(dealt, shuffled(p, 1, 3)) || !slices.Equal(dealt, shuffled(p, 1, 2)) {
			t.Errorf("%+v: want each layer's own deal, the same each time", c)
		}
		slices.SortFunc(dealt, func(a, b float64) int { return cmp.Compare(b, a) })
		if !slices.Equal(dealt, p) {
			t.Errorf("%+v: dealing lost some", c)
		}
	}
}

// shareOfHot is the share of all activations that the first of the neurons have.
func shareOfHot(p []float64, share float64) float64 {
	hot, all := 0.0, 0.0
	for i, v := range p {
		if all += v; float64(i) < share*float64(len(p)) {
			hot += v
		}
	}
	return hot / all
}
