package transfer

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/disk"
)

// What is loaded beforehand is there for the first pass, the hottest last to go.
func TestPreload(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	for _, workers := range []int{0, 2} {
		h := newHarness(f, setup{slots: []int{4, 0}, staging: 4, activations: testFFN, workers: workers, modes: bothPredicted})
		p := h.Preload(0, []int32{7, 2, 9})
		if n := p.Bytes(); n != 3*f.BundleStride() {
			t.Errorf("got %d bytes, want those of three neurons", n)
		}
		h.preload(t, p)
		if in := h.contents(0); len(in) != 3 {
			t.Errorf("got %v, want three neurons", in)
		}
		h.settled(t) // each with its bytes, none pinned
		h.one(t, []int32{2, 7, 9})
		if h.stats.Misses != 0 {
			t.Errorf("got %d misses, want none", h.stats.Misses)
		}
		h.close()
	}
	h := newHarness(f, setup{slots: []int{2, 0}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	h.preload(t, h.Preload(0, []int32{7, 2}))
	h.one(t, []int32{5})
	in := h.contents(0)
	_, hot := in[7]
	_, new := in[5]
	if len(in) != 2 || !hot || !new {
		t.Errorf("got %v, want 5 in the place of the colder 2", in)
	}
	// A read that fails is an error, though the others have ended well.
	f.file.set(0, f.BundleOffset(0, 3))
	broken := newHarness(f, setup{slots: []int{4, 0}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer broken.close()
	p := broken.Preload(0, []int32{3, 8})
	p.Start(broken.fetcher.Transfer)
	if err := p.Wait(); err == nil {
		t.Error("a failed read: got no error")
	}
	f.file.set(0)
}

// preload makes the reads by a transfer of their own, as a start does.
func (h *harness) preload(t *testing.T, p *Preload) {
	t.Helper()
	own := disk.NewAsyncWeightTransfer(h.fetcher.Transfer.Store(), 2)
	defer own.Close()
	p.Start(own)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if h.fetcher.Transfer.Reads() != 0 || own.Reads() == 0 {
		t.Errorf("got %d reads by the model's transfer and %d by the start's own, want none and some", h.fetcher.Transfer.Reads(), own.Reads())
	}
}
