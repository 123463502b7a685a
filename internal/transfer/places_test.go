package transfer

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/disk"
)

// Neurons that lie side by side in an ordered pack are one read, each into its
// own slot, however far apart they are as neurons.
func TestPlanByPlace(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{8, 8}, ring: 4, hidden: testFFN, predicted: []bool{true, true}})
	defer h.close()
	h.Places = make([][]int32, testLayers)
	h.Places[1] = make([]int32, testFFN)
	for i := range h.Places[1] {
		h.Places[1][i] = int32(testFFN - 1 - i) // the last neuron first
	}
	var p NeuronTransferPlan
	h.plan(&p, 1, []int32{1, 3, 4, 5, 9}, []int32{20, 21, 22, 23, 24}, []int32{0, 2, 3, 4})
	last := int32(testFFN - 1)
	want := []Run{
		{First: last - 9, Slots: []int32{24}},
		{First: last - 5, Slots: []int32{23, 22}},
		{First: last - 1, Slots: []int32{20}},
	}
	same := func(a, b Run) bool { return a.First == b.First && slices.Equal(a.Slots, b.Slots) }
	if p.Layer != 1 || !slices.EqualFunc(p.Runs, want, same) {
		t.Errorf("got %+v, want %+v", p.Runs, want)
	}
}

// What is loaded beforehand is there for the first pass, the hottest last to go.
func TestPreload(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	for _, workers := range []int{0, 2} {
		h := newHarness(f, setup{slots: []int{4, 0}, ring: 4, hidden: testFFN, workers: workers, predicted: []bool{true, true}})
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
		if h.Stats.Misses != 0 {
			t.Errorf("got %d misses, want none", h.Stats.Misses)
		}
		h.close()
	}
	h := newHarness(f, setup{slots: []int{2, 0}, ring: 4, hidden: testFFN, workers: 1, predicted: []bool{true, true}})
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
	broken := newHarness(f, setup{slots: []int{4, 0}, ring: 4, hidden: testFFN, workers: 1, predicted: []bool{true, true}})
	defer broken.close()
	p := broken.Preload(0, []int32{3, 8})
	p.Start(broken.Transfer)
	if err := p.Wait(); err == nil {
		t.Error("a failed read: got no error")
	}
	f.file.set(0)
}

// preload makes the reads by a transfer of their own, as a start does.
func (h *harness) preload(t *testing.T, p *Preload) {
	t.Helper()
	own := disk.NewAsyncWeightTransfer(h.Transfer.Store(), 2)
	defer own.Close()
	p.Start(own)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if h.Transfer.Reads() != 0 || own.Reads() == 0 {
		t.Errorf("got %d reads by the model's transfer and %d by the start's own, want none and some", h.Transfer.Reads(), own.Reads())
	}
}
