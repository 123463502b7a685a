package synth

import (
	"cmp"
	"math"
	"slices"
	"testing"
)

// With as many layers as OPT-6.7B the shares go through the published points.
func TestActiveSharesPublished(t *testing.T) {
	got := activeShares(32, publishedMean)
	for _, c := range []struct {
		layer int // from 1
		want  float64
	}{{1, 0.0156}, {16, 0.0266}, {32, 0.0536}} {
		if v := got[c.layer-1]; math.Abs(v-c.want) > 1e-12 {
			t.Errorf("layer %d: got %.4f, want %.4f", c.layer, v, c.want)
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("got %v, want shares that rise", got)
	}
}

func TestActiveSharesMean(t *testing.T) {
	for layers := 1; layers < 60; layers++ {
		sum := 0.0
		for _, v := range activeShares(layers, 0.05) {
			sum += v
		}
		if got := sum / float64(layers); math.Abs(got-0.05) > 1e-12 {
			t.Errorf("%d layers: got a mean of %v, want 0.05", layers, got)
		}
	}
}

func TestFrequencies(t *testing.T) {
	for _, c := range []struct {
		ffn  int
		mean float64
	}{{512, 0.0156}, {1000, 0.0536}, {3072, 0.033}, {3072, leastActive}, {3072, mostActive}} {
		p := frequencies(c.ffn, c.mean)
		sum := 0.0
		for i, v := range p {
			sum += v
			if !(v > 0 && v <= mostFrequent) || i > 0 && v > p[i-1] {
				t.Fatalf("%+v: rank %d: got %v after %v", c, i, v, p[max(0, i-1)])
			}
		}
		if got := sum / float64(c.ffn); math.Abs(got/c.mean-1) > 1e-3 {
			t.Errorf("%+v: got a mean of %v", c, got)
		}
		if got := shareOfHot(p); math.Abs(got-hotActive) > 0.01 {
			t.Errorf("%+v: the hottest %v have %v of all activations, want %v", c, hotShare, got, hotActive)
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
