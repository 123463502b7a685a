package placement

import (
	"math"
	"slices"
	"testing"
)

// With as many layers as OPT-6.7B the shares go through the published points.
func TestActiveSharesPublished(t *testing.T) {
	got := PublishedShares(32, PublishedActive)
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
		for _, v := range PublishedShares(layers, 0.05) {
			sum += v
		}
		if got := sum / float64(layers); math.Abs(got-0.05) > 1e-12 {
			t.Errorf("%d layers: got a mean of %v, want 0.05", layers, got)
		}
	}
}
