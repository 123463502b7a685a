package engine

import (
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// filler fills slots that no token has filled yet, while the model already
// answers, so that what has room need not be read when it is wanted. It belongs to
// the engine's loop and has no goroutine: between requests it reads a batch at a
// time, and looks for requests after each; after a step of decoding it starts one
// small batch for a layer that is computed last, and waits for it before that
// layer is computed again. Experts are filled in the first layers, too: those batches
// start when half of a step is done. No result depends on it.
type filler struct {
	store       *disk.DiskWeightStore
	coordinator *transfer.TransferCoordinator
	loading     *loading
	o           Options
	transfer    *disk.AsyncWeightTransfer // of its own, so that no request is taken to have read this; nil before the first batch
	place       *placement.Placement
	layer       int               // up to which layers have had no turn, -1 when all have had theirs
	order       [][]int32         // [layers] what is still to be offered, the hottest first; empty before a layer's turn
	batch       *transfer.Preload // that is being read
	under       int               // its layer
	ended       chan struct{}     // closed when there is nothing more to fill
}

// The bytes of a batch: between requests some milliseconds of a disk's time, in
// a step a fraction of one. A step over experts takes longer, and one expert more.
const (
	idleBatchBytes  = 2 << 20
	stepBatchBytes  = 128 << 10
	expertIdleBytes = 16 << 20
	expertStepBytes = 4 << 20
)

// newFiller fills nothing yet. The last layer comes first, since a step gets to it
// last.
func newFiller(o Options, m *loaded, c *transfer.TransferCoordinator) *filler {
	f := &filler{store: m.store, coordinator: c, loading: m.loading, o: o, place: m.place, order: make([][]int32, len(m.place.Slots)), under: -1, ended: make(chan struct{})}
	f.layer = len(f.order) - 1
	return f
}

// experts reports whether experts fill slots. They are few and large, so that what is
// hottest in any layer comes first; neurons come layer by layer, whose neighbours in
// the file are read together.
func (f *filler) experts() bool { return f.store.Pack().Profile().Experts() > 0 }

// hottest is the units of a layer, the hottest first, if that is known.
func (f *filler) hottest(layer int) []int32 {
	if f.place.Slots[layer] == 0 {
		return []int32{}
	}
	if f.o.Counts != nil {
		return f.o.Counts.Hottest(layer)
	}
	all := make([]int32, f.store.Pack().Profile().Units())
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// idle fills some slots between requests, and reports whether there may be more.
func (f *filler) idle() bool {
	if f == nil {
		return false
	}
	bytes := int64(idleBatchBytes)
	if f.experts() {
		bytes = expertIdleBytes
	}
	if !f.begin(bytes, 0, len(f.place.Slots)) {
		if f.loading.complete() {
			f.end()
		}
		return false
	}
	f.finish()
	return true
}

// end says that there is nothing more to fill.
func (f *filler) end() {
	select {
	case <-f.ended:
	default:
		close(f.ended)
	}
}

// step starts to fill a few slots after a step of decoding.
func (f *filler) step() {
	if f == nil {
		return
	}
	switch n := len(f.place.Slots); {
	case f.batch != nil:
	case f.experts():
		f.begin(expertStepBytes, n/2, n)
	default:
		f.begin(stepBatchBytes, 0, n)
	}
}

// before waits for the batch of a layer that is about to be computed, of a step of
// decoding or another.
func (f *filler) before(layer int, decode bool) {
	if f.fills(layer) {
		f.finish()
	}
	if f != nil && decode && f.batch == nil && layer == len(f.place.Slots)/2 && f.experts() {
		f.begin(expertStepBytes, 0, layer)
	}
}

// turn is the layer, of those from first on and before end, whose turn it is, -1 when
// all have had theirs.
func (f *filler) turn(first, end int) int {
	if !f.experts() {
		for f.layer >= 0 && len(f.order[f.layer]) == 0 {
			if f.order[f.layer] == nil {
				f.order[f.layer] = f.hottest(f.layer)
			} else {
				f.order[f.layer], f.layer = nil, f.layer-1
			}
		}
		return f.layer
	}
	for ; f.layer >= 0; f.layer-- {
		f.order[f.layer] = f.hottest(f.layer)
	}
	at := -1
	for l := first; l < min(end, len(f.order)); l++ {
		if n := len(f.order[l]); n > 0 && (at < 0 || n >= len(f.order[at])) {
			at = l
		}
	}
	return at
}

// begin starts a batch of some size for one of some layers. It reports false where these
// are filled.
func (f *filler) begin(bytes int64, first, end int) bool {
	f.finish()
	if !f.loading.complete() {
		return false
	}
	for layer := f.turn(first, end); layer >= 0; layer = f.turn(first, end) {
		left := f.order[layer]
		ids := left[:min(int(max(1, bytes/f.place.SlotBytes[layer])), len(left))]
		f.order[layer] = left[len(ids):]
		batch := f.coordinator.Preload(layer, ids)
		if batch.Bytes() == 0 {
			continue // they are there, or there is no room
		}
		if f.transfer == nil {
			f.transfer = f.o.transfer(f.store)
		}
		f.batch, f.under = batch, layer
		batch.Start(f.transfer)
		return true
	}
	return false
}

// fills reports whether the batch that is being read is of a layer.
func (f *filler) fills(layer int) bool { return f != nil && f.under == layer }

// finish waits for the batch that is being read. What cannot be read is missing
// again, for whoever wants it to say why, and nothing more is filled.
func (f *filler) finish() {
	if f.batch == nil {
		return
	}
	if err := f.batch.Wait(); err != nil {
		f.batch.Forget()
		f.layer, f.order = -1, nil
	}
	f.batch, f.under = nil, -1
}

// close ends the filling.
func (f *filler) close() {
	if f == nil {
		return
	}
	f.finish()
	f.end()
	f.layer, f.order = -1, nil
	if f.transfer != nil {
		f.transfer.Close()
		f.transfer = nil
	}
}
