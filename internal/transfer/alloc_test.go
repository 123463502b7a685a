package transfer

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
)

// A token's misses take no new memory, read early or not, nor does a layer all
// of whose neurons come through the ring.
func TestNoAllocation(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{6, 0}, staging: 4, activations: testFFN, workers: 1, modes: []config.Mode{config.Predicted, config.Gate}, gap: 2})
	defer h.close()
	a, b := h.predictor.input(0, []int32{1, 2, 5, 9}), h.predictor.input(0, []int32{3, 8, 12, 13, 20})
	all := h.predictor.input(1, nil)
	pass := func() {
		for _, layer := range []int{0, 1} {
			ahead, exact := a, b
			if layer == 1 {
				ahead, exact = all, all
			}
			if err := h.Prefetch(h.step(true), layer, ahead); err != nil {
				t.Fatal(err)
			}
			w, err := h.Fetch(h.step(true), layer, exact)
			if err != nil {
				t.Fatal(err)
			}
			for seg := range w.Segments {
				for _, err := range seg.Arrivals {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		a, b = b, a
	}
	for range 20 {
		pass()
	}
	misses := h.stats.Misses
	// A few for what grows once in a while.
	if n := testing.AllocsPerRun(200, pass); n >= 1 {
		t.Errorf("got %v allocations a pass, want none", n)
	}
	if h.stats.Misses == misses {
		t.Error("got no misses, want some")
	}
}
