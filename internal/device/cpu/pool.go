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
// that wakes late, then delays nothing but the chunk it is at. A helper that
// finds no chunk looks for more a while before it sleeps, since operations of
// one token follow each other within microseconds, and Go takes some 60 us to
// move a woken goroutine to another processor, as long as 1.5 MB of weights.
// (One part per thread, sent over channels, gained nothing up to 4 MB.)
type pool struct {
	helpers []*helper
	all     sync.WaitGroup // the helper goroutines

	// The operation, written before its chunks are handed out. A helper reads
	// it only between claiming a chunk and finishing it, when run is waiting.
	t      task
	n      int // units
	grain  int // units of a chunk; the last may have fewer
	chunks int

	beside []func() // what a run does first, while the helpers compute
	passed int      // runs of one chunk that left it to a later one

	unclaimed  atomic.Int64  // chunks that nobody has begun; less than 0 if asked for too often
	unfinished atomic.Int64  // chunks that are not computed yet
	waiting    atomic.Bool   // run sleeps: whoever clears it sends on finished, or stays awake
	finished   chan struct{} // one message
}

// helper is one goroutine of a pool.
type helper struct {
	asleep atomic.Bool   // or about to be: whoever clears it sends on wake, or stays awake
	wake   chan struct{} // one message
}

// spins is how often a thread looks for work, or for the end of an operation,
// before it sleeps: some 0.4 ms if nobody else has use for the processor. With
// a tenth of that helpers slept while the cache was looked through for a
// layer's neurons; a token under a budget took 3 % longer (the median of six
// pairs of runs, -0.4 to 10).
const spins = 4000

// mostPassed is how many operations of one chunk, in which no helper computes,
// leave what is to be done beside to a later one: a norm and the rounding of
// its output come before the matrices.
const mostPassed = 2

// newPool starts threads-1 helpers.
func newPool(threads int) *pool {
	p := &pool{helpers: make([]*helper, threads-1), finished: make(chan struct{}, 1)}
	for i := range p.helpers {
		h := &helper{wake: make(chan struct{}, 1)}
		p.helpers[i] = h
		p.all.Go(func() { p.help(h, i+1) })
	}
	return p
}

// threads is the number of threads, the caller's among them.
func (p *pool) threads() int { return len(p.helpers) + 1 }

// run computes n units in chunks of grain units, and returns when all are
// done.
func (p *pool) run(t task, n, grain int) {
	chunks := (n + grain - 1) / grain
	if chunks <= 1 || len(p.helpers) == 0 {
		switch {
		case len(p.helpers) == 0 || p.passed == mostPassed:
			p.doBeside()
		case len(p.beside) > 0:
			p.passed++
		}
		if n > 0 {
			t.run(0, n, 0)
		}
		return
	}
	p.t, p.n, p.grain, p.chunks = t, n, grain, chunks
	p.unfinished.Store(int64(chunks))
	p.unclaimed.Store(int64(chunks))
	for _, h := range p.helpers[:min(chunks-1, len(p.helpers))] {
		if h.asleep.Load() && h.asleep.Swap(false) {
			h.wake <- struct{}{}
		}
	}
	p.doBeside()
	p.work(0)
	p.wait()
}

// doBeside does what was to be done beside an operation.
func (p *pool) doBeside() {
	if len(p.beside) == 0 {
		return
	}
	for _, f := range p.beside {
		f()
	}
	clear(p.beside)
	p.beside, p.passed = p.beside[:0], 0
}

// wait returns when no chunk is unfinished.
func (p *pool) wait() {
	for range spins {
		if p.unfinished.Load() == 0 {
			return
		}
		runtime.Gosched()
	}
	// The helper that finished an earlier operation, when this thread did not
	// sleep, may come to look at waiting only now: its message means nothing.
	for p.unfinished.Load() != 0 {
		p.waiting.Store(true)
		if p.unfinished.Load() == 0 && p.waiting.Swap(false) {
			return
		}
		<-p.finished
	}
}

// work computes chunks until none is left.
func (p *pool) work(worker int) {
	for {
		left := int(p.unclaimed.Add(-1))
		if left < 0 {
			return
		}
		lo := (p.chunks - 1 - left) * p.grain
		p.t.run(lo, min(lo+p.grain, p.n), worker)
		if p.unfinished.Add(-1) == 0 && p.waiting.Swap(false) {
			p.finished <- struct{}{}
		}
	}
}

// help works until the pool is closed.
func (p *pool) help(h *helper, worker int) {
	for {
		p.spin(worker)
		h.asleep.Store(true)
		// An operation may have begun since the last look.
		if p.unclaimed.Load() > 0 && h.asleep.Swap(false) {
			continue
		}
		if _, ok := <-h.wake; !ok {
			return
		}
	}
}

// spin works, and returns when it has found nothing to do for a while since it
// last did.
func (p *pool) spin(worker int) {
	for idle := 0; idle < spins; idle++ {
		if p.unclaimed.Load() > 0 {
			p.work(worker)
			idle = 0
		}
		runtime.Gosched()
	}
}

// close ends the helpers. None computes, since no operation is under way.
func (p *pool) close() {
	for _, h := range p.helpers {
		close(h.wake)
	}
	p.all.Wait()
}
