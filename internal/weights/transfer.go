package weights

import (
	"sync"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// A Read is one pending read from the store. It is made by one of the Start
// methods of AsyncWeightTransfer and belongs to the caller, who may look at
// it after Wait only.
type Read struct {
	run  func() error
	done chan struct{} // closed when run has returned; nil where nobody runs it yet
	err  error
}

// Done reports, without waiting, whether the read has ended.
func (r *Read) Done() bool {
	if r.done == nil {
		return false
	}
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Wait waits for the read to end; a read of a synchronous transfer happens
// here. It may be called again.
func (r *Read) Wait() error {
	if r.done == nil {
		r.done = make(chan struct{})
		r.err = r.run()
		close(r.done)
	}
	<-r.done
	return r.err
}

// AsyncWeightTransfer reads from a store beside the computation. Reads start
// in the order they are asked for and end in any.
//
// With no workers it is synchronous: a read happens when somebody waits for
// it. That is the --async-transfer=false of benchmarks and of the oracle.
type AsyncWeightTransfer struct {
	store   *DiskWeightStore
	workers int
	queue   chan *Read
	wait    sync.WaitGroup
}

// queueLength is how many reads can be waiting for a worker. Whoever asks for
// more waits for the workers, who wait for nobody.
const queueLength = 4096

// NewAsyncWeightTransfer makes a transfer with workers reads at a time.
func NewAsyncWeightTransfer(s *DiskWeightStore, workers int) *AsyncWeightTransfer {
	a := &AsyncWeightTransfer{store: s, workers: workers, queue: make(chan *Read, queueLength)}
	for range workers {
		a.wait.Add(1)
		go func() {
			defer a.wait.Done()
			for r := range a.queue {
				r.err = r.run()
				close(r.done)
			}
		}()
	}
	return a
}

// Async reports whether reads happen beside the computation.
func (a *AsyncWeightTransfer) Async() bool { return a.workers > 0 }

// Store is where the transfer reads from.
func (a *AsyncWeightTransfer) Store() *DiskWeightStore { return a.store }

// StartBundles reads neurons first to first+len(slots)-1 of a layer, each into
// its slot.
func (a *AsyncWeightTransfer) StartBundles(layer, first int, slots []int32, s device.Slots) *Read {
	return a.start(func() error {
		dst := make([][]byte, len(slots))
		for i, slot := range slots {
			dst[i] = s.Bundle(slot)
		}
		return a.store.ReadBundles(layer, first, dst)
	})
}

// StartBlock reads block b of t through buf and hands the rows to got.
func (a *AsyncWeightTransfer) StartBlock(t pack.Tensor, b int, buf []byte, got *[]byte) *Read {
	return a.start(func() (err error) {
		*got, err = a.store.ReadBlock(t, b, buf)
		return err
	})
}

func (a *AsyncWeightTransfer) start(run func() error) *Read {
	r := &Read{run: run}
	if a.workers > 0 {
		r.done = make(chan struct{})
		a.queue <- r
	}
	return r
}

// Close waits for the reads that were started and ends the workers.
func (a *AsyncWeightTransfer) Close() {
	close(a.queue)
	a.wait.Wait()
}
