package transfer

import "testing"

// A token's misses take no new memory, read early or not, nor does a layer all
// of whose neurons come through the ring.
func TestNoAllocation(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{6, 0}, ring: 4, hidden: testFFN, workers: 1, predicted: []bool{true, false}, gap: 2})
	defer h.close()
	a, b := h.predictor.input(0, []int32{1, 2, 5, 9}), h.predictor.input(0, []int32{3, 8, 12, 13, 20})
	all := h.predictor.input(1, nil)
	pass := func() {
		for _, layer := range []int{0, 1} {
			ahead, exact := a, b
			if layer == 1 {
				ahead, exact = all, all
			}
			if err := h.Lookahead(layer, ahead, true); err != nil {
				t.Fatal(err)
			}
			w, err := h.Begin(layer, exact, true)
			if err != nil {
				t.Fatal(err)
			}
			for w.Next() {
				if err := w.Arrive(); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
		}
		a, b = b, a
	}
	for range 20 {
		pass()
	}
	misses := h.Stats.Misses
	// A few for what grows once in a while.
	if n := testing.AllocsPerRun(200, pass); n >= 1 {
		t.Errorf("got %v allocations a pass, want none", n)
	}
	if h.Stats.Misses == misses {
		t.Error("got no misses, want some")
	}
}
