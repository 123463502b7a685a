package disk

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// A Read is one read from the store. It is made by one of the Start methods of
// AsyncWeightTransfer and belongs to the caller, who may look at it after Wait
// only.
type Read struct {
	attempt
	transfer *AsyncWeightTransfer
	ended    atomic.Bool // all bytes are there, or never will be
	checked  bool
	users    int   // that have not released it
	result   error // of Wait

	// Of bundles: into which slots those of a layer go, from neuron first on;
	// -1: of no use.
	layer, first int
	slots        []int32
	memory       device.Slots
	// Of an expert, first of a layer: its slot, and the read of its next parts, if these
	// lie apart.
	expert []byte
	more   *Read
	// Of a block: its rows, and where to tell them; nil for bundles.
	tensor pack.Tensor
	block  int
	data   []byte
	got    *[]byte
}

// Done reports, without waiting, whether the read has ended.
func (r *Read) Done() bool {
	if t := r.transfer; !r.allEnded() && t.file != nil {
		t.Submit()
		t.file.Poll(false)
	}
	return r.allEnded()
}

func (r *Read) allEnded() bool {
	for ; r != nil; r = r.more {
		if !r.ended.Load() {
			return false
		}
	}
	return true
}

// Arrived reports whether the read has ended well, as far as the last Poll
// tells. What it brought is not checked yet: Wait does that.
func (r *Read) Arrived() bool {
	for ; r != nil; r = r.more {
		if !r.ended.Load() || r.failure != nil {
			return false
		}
	}
	return true
}

// Wait waits for the read to end; a read of a synchronous transfer happens
// here. It may be called again.
func (r *Read) Wait() error {
	t := r.transfer
	for t.file != nil && !r.ended.Load() {
		t.Submit()
		t.file.Poll(true)
	}
	if r.checked {
		return r.result
	}
	for !r.ended.Load() {
		r.Ended(t.store.file.ReadVec(r.Bufs, r.Off))
	}
	r.checked = true
	r.result = r.check()
	if r.more != nil {
		if err := r.more.Wait(); r.result == nil {
			r.result = err
		}
	}
	return r.result
}

// Ended takes in what the request brought, for the AsyncFile.
func (r *Read) Ended(n int, err error) {
	t := r.transfer
	if !r.next(t.store, &t.Traffic, n, err) {
		r.ended.Store(true)
		t.open.Add(-1)
	} else if t.file != nil {
		t.file.Submit([]*Request{&r.Request})
	}
}

// check is what Wait returns of a read that has ended.
func (r *Read) check() error {
	s := r.transfer.store
	if r.got != nil {
		if r.failure != nil {
			return blockError(r.tensor, r.block, r.failure)
		}
		*r.got = r.data
		return s.checkBlock(r.tensor, r.block, r.data)
	}
	if r.expert != nil {
		return r.checkExpert()
	}
	gaps := slices.Contains(r.slots, -1)
	if r.failure != nil && !gaps {
		return bundlesError(r.layer, r.first, len(r.slots), r.failure)
	}
	for i, slot := range r.slots {
		if slot < 0 {
			continue
		}
		b := r.memory.Bundle(slot)
		if r.failure != nil {
			// What nobody wants must not be what fails: one by one.
			if err := s.ReadBundles(r.layer, r.first+i, [][]byte{b}); err != nil {
				return err
			}
		} else if err := s.checkBundle(r.layer, r.first+i, b); err != nil {
			return err
		}
	}
	return nil
}

// AsyncWeightTransfer reads from a store beside the computation. Reads start
// in the order they are asked for and end in any.
//
// With no workers it is synchronous: a read happens when somebody waits for
// it. That is the --async-transfer=false of benchmarks and of the oracle.
type AsyncWeightTransfer struct {
	Traffic
	store *DiskWeightStore
	file  AsyncFile    // nil: synchronous
	stop  func()       // ends what serves file
	open  atomic.Int64 // reads that have not ended

	mu    sync.Mutex
	asked []*Request // by Start, not yet submitted
	spare []*Read    // released
}

// NewAsyncWeightTransfer makes a transfer. Where the store's file is no
// AsyncFile it makes workers reads at a time.
func NewAsyncWeightTransfer(s *DiskWeightStore, workers int) *AsyncWeightTransfer {
	a := &AsyncWeightTransfer{store: s}
	if workers > 0 {
		a.file, a.stop = Queue(s.file, workers)
	}
	return a
}

// Async reports whether reads happen beside the computation.
func (a *AsyncWeightTransfer) Async() bool { return a.file != nil }

// Store is where the transfer reads from.
func (a *AsyncWeightTransfer) Store() *DiskWeightStore { return a.store }

// StartBundles reads neurons first to first+len(slots)-1 of a layer, each into
// its slot. A slot of -1 stands for a neuron that is read only because it lies
// between two others: its bytes go to gap, page-aligned memory of at least a
// bundle whose contents nobody cares for.
//
// Like all reads it begins with the next Submit, and at the latest when
// somebody asks for it: several that are submitted together cost one system
// call.
func (a *AsyncWeightTransfer) StartBundles(layer, first int, slots []int32, s device.Slots, gap []byte) *Read {
	r := a.read()
	r.layer, r.first, r.memory = layer, first, s
	r.slots = append(r.slots, slots...)
	for i := 0; i < len(slots); i++ {
		if slots[i] >= 0 {
			r.users++
			r.bufs = append(r.bufs, s.Bundle(slots[i]))
			continue
		}
		n := int64(1) // neurons of one buffer
		for most := int64(len(gap)) / s.Stride; n < most && slots[i+1] < 0; n++ {
			i++
		}
		r.bufs = append(r.bufs, gapBuffer(gap[:n*s.Stride]))
	}
	return a.start(r, a.store.pack.BundleOffset(layer, first))
}

// StartBlock reads block b of t through buf and hands the rows to got.
func (a *AsyncWeightTransfer) StartBlock(t pack.Tensor, b int, buf []byte, got *[]byte) *Read {
	row, rows := t.Block(b)
	part, data, off := a.store.span(buf, t.Offset+int64(row)*t.RowBytes, int64(rows)*t.RowBytes)
	r := a.read()
	r.tensor, r.block, r.data, r.got, r.users = t, b, data, got, 1
	r.bufs = append(r.bufs, part)
	return a.start(r, off)
}

// read is a new Read, or one that was released, with its memory.
func (a *AsyncWeightTransfer) read() *Read {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.spare) - 1
	if last < 0 {
		return &Read{transfer: a}
	}
	r := a.spare[last]
	a.spare = a.spare[:last]
	return r
}

// Release says that one of its users, the neurons that have a slot or the one
// block, will not look at r again. With the last of them its memory is used for
// another read: so a token's reads need no new memory. r has ended by then, or
// its transfer is synchronous and will never make it.
func (r *Read) Release() {
	if r.users--; r.users > 0 {
		return
	}
	if r.more != nil {
		r.more.Release()
	}
	a := r.transfer
	clear(r.bufs)
	*r = Read{transfer: a, attempt: attempt{bufs: r.bufs[:0]}, slots: r.slots[:0]}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.spare) < mostSpare {
		a.spare = append(a.spare, r)
	}
}

// mostSpare is how many Reads are kept: more than a layer's misses and those of
// a forecast. See QueueBytes.
const mostSpare = 1024

func (a *AsyncWeightTransfer) start(r *Read, off int64) *Read {
	r.off = off
	r.Request = Request{Bufs: r.bufs, Off: off, Owner: r}
	a.open.Add(1)
	if a.file != nil {
		a.mu.Lock()
		a.asked = append(a.asked, &r.Request)
		a.mu.Unlock()
	}
	return r
}

// Submit begins all reads that were asked for.
func (a *AsyncWeightTransfer) Submit() {
	if a.file == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) > 0 {
		a.file.Submit(a.asked)
		a.asked = a.asked[:0]
	}
}

// Poll finds out which reads have ended, without waiting or beginning any.
func (a *AsyncWeightTransfer) Poll() {
	if a.file != nil {
		a.file.Poll(false)
	}
}

// WaitAny waits for one of the reads that are under way, if there are any.
func (a *AsyncWeightTransfer) WaitAny() {
	if a.file != nil {
		a.Submit()
		a.file.Poll(true)
	}
}

// Close waits for the reads that were started.
func (a *AsyncWeightTransfer) Close() {
	if a.file == nil {
		return
	}
	a.Submit()
	for a.open.Load() > 0 {
		a.file.Poll(true)
	}
	a.stop()
}
