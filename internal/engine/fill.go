package engine

import (
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// filler fills slots that no token has filled yet, while the model already
// answers, so that what has room need not be read when it is wanted. It belongs to
// the engine's loop and has no goroutine: between requests it reads a batch at a
// time, and looks for requests after each; after a step of decoding it starts one
// small batch for a layer that is computed last, and waits for it before that
// layer is computed again. No result depends on it.
type filler struct {
	store       *disk.DiskWeightStore
	coordinator *transfer.TransferCoordinator
	loading     *loading
	o           Options
	transfer    *disk.AsyncWeightTransfer // of its own, so that no request is taken to have read this; nil before the first batch
	layer       int                       // whose turn it is, -1 when all have had theirs
	order       []int32                   // of that layer, what is still to be offered, the hottest first; empty before its turn
	batch       *transfer.Preload         // that is being read
	under       int                       // its layer
}

// The bytes of a batch: between requests some milliseconds of a disk's time, in
// a step a fraction of one.
const (
	idleBatchBytes = 2 << 20
	stepBatchBytes = 128 << 10
)

// newFiller fills nothing yet. The last layer comes first, since a step gets to it
// last.
func newFiller(o Options, s *disk.DiskWeightStore, c *transfer.TransferCoordinator, l *loading) *filler {
	return &filler{store: s, coordinator: c, loading: l, o: o, layer: l.layers - 1, under: -1}
}

// hottest is the neurons of a layer, the hottest first, if that is known.
func (f *filler) hottest(layer int) []int32 {
	if f.o.Counts != nil {
		return f.o.Counts.Hottest(layer)
	}
	all := make([]int32, f.store.Pack().Profile().BundledNeurons())
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// idle fills some slots between requests, and reports whether there may be more.
func (f *filler) idle() bool {
	if f == nil || !f.begin(idleBatchBytes) {
		return false
	}
	f.finish()
	return true
}

// step starts to fill a few slots after a step of decoding.
func (f *filler) step() {
	if f != nil && f.batch == nil {
		f.begin(stepBatchBytes)
	}
}

// begin starts a batch of some size. It reports false where all is filled.
func (f *filler) begin(bytes int64) bool {
	f.finish()
	if !f.loading.complete() {
		return false
	}
	n := int(max(1, bytes/f.store.Pack().BundleStride()))
	for f.layer >= 0 {
		if len(f.order) == 0 {
			f.order = f.hottest(f.layer)
		}
		layer, ids := f.layer, f.order[:min(n, len(f.order))]
		if f.order = f.order[len(ids):]; len(f.order) == 0 {
			f.layer--
		}
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
	f.close()
	return false
}

// wait waits for the batch of a layer that is about to be computed.
func (f *filler) wait(layer int) {
	if f != nil && f.under == layer {
		f.finish()
	}
}

// finish waits for the batch that is being read. What cannot be read is missing
// again, for whoever wants it to say why, and nothing more is filled.
func (f *filler) finish() {
	if f.batch == nil {
		return
	}
	if err := f.batch.Wait(); err != nil {
		f.batch.Forget()
		f.layer = -1
	}
	f.batch, f.under = nil, -1
}

// close ends the filling.
func (f *filler) close() {
	if f == nil {
		return
	}
	f.finish()
	f.layer, f.order = -1, nil
	if f.transfer != nil {
		f.transfer.Close()
		f.transfer = nil
	}
}
