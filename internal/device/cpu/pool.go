package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// task is an operation whose outputs can be computed in any split.
type task interface {
	// run computes the units lo to hi of the operation; worker numbers the
	// thread, for its scratch.
	run(lo, hi, worker int)
}

// pool is the backend's threads. The goroutine that calls run is one of them.
//
// An operation is cut into chunks that the threads claim one by one, rather
// than into one part per thread: a thread that the system has taken away, or
// that wakes late, then delays nothing but the chunk it is at. Since threads
// come late so often, it is worth having them at hand: a helper that runs out
// of work looks for more for a while before it sleeps. (Go wakes a goroutine
// on another processor in some 60 us, as much as 1.5 MB of weights.)
type pool struct {
	helpers []*helper
	all     sync.WaitGroup // the helper goroutines

	// The operation, written before its chunks are handed out. A helper reads
	// it between claiming a chunk and finishing it, when run cannot return.
	t      task
	n      int // units
	chunks int

	unclaimed  atomic.Int64 // chunks nobody computes yet; less than 0 if asked for too often
	unfinished atomic.Int64 // chunks not computed yet
	waiting    atomic.Bool  // run sleeps until the last chunk is finished
	finished   chan struct{}
}

// helper is one goroutine of a pool.
type helper struct {
	asleep atomic.Bool // or about to be: whoever clears it sends on wake, or stays awake
	wake   chan struct{}
}

// spins is how often a thread looks for work, or for the end of an operation,
// before it sleeps.
const spins = 400

func newPool(threads int) *pool {
	p := &pool{helpers: make([]*helper, threads-1), finished: make(chan struct{}, 1)}
	for i := range p.helpers {
		h := &helper{wake: make(chan struct{}, 1)}
		p.helpers[i] = h
		p.all.Go(func() { p.help(h, i+1) })
	}
	return p
}

func (p *pool) threads() int { return len(p.helpers) + 1 }

// run computes n units on all threads in chunks of at least grain units, and
// returns when all are done.
func (p *pool) run(t task, n, grain int) {
	chunks := n / max(grain, 1)
	if chunks <= 1 || len(p.helpers) == 0 {
		if n > 0 {
			t.run(0, n, 0)
		}
		return
	}
	p.t, p.n, p.chunks = t, n, chunks
	p.unfinished.Store(int64(chunks))
	p.unclaimed.Store(int64(chunks))
	for _, h := range p.helpers[:min(chunks-1, len(p.helpers))] {
		if h.asleep.Load() && h.asleep.Swap(false) {
			h.wake <- struct{}{}
		}
	}
	p.work(0)
	for range spins {
		if p.unfinished.Load() == 0 {
			return
		}
		runtime.Gosched()
	}
	p.waiting.Store(true)
	if p.unfinished.Load() == 0 && p.waiting.Swap(false) {
		return
	}
	<-p.finished
}

// work computes chunks until none is left.
func (p *pool) work(worker int) {
	for {
		c := int(p.unclaimed.Add(-1))
		if c < 0 {
			return
		}
		// Counted down, so that chunks come in ascending order.
		c = p.chunks - 1 - c
		p.t.run(c*p.n/p.chunks, (c+1)*p.n/p.chunks, worker)
		if p.unfinished.Add(-1) == 0 && false {
			p.finished <- struct{}{}
		}
	}
}

// help works until the pool is closed.
func (p *pool) help(h *helper, worker int) {
	for {
		for range spins {
			if p.unclaimed.Load() > 0 {
				p.work(worker)
			}
			runtime.Gosched()
		}
		h.asleep.Store(true)
		if p.unclaimed.Load() > 0 && h.asleep.Swap(false) {
			continue
		}
		if _, ok := <-h.wake; !ok {
			return
		}
	}
}

// close ends the helpers. None computes, since no run is under way.
func (p *pool) close() {
	for _, h := range p.helpers {
		close(h.wake)
	}
	p.all.Wait()
}
