package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sparseflow/sparseflow/internal/shortsleep"
)

// task is an operation whose outputs can be computed in any split.
type task interface {
	// run computes the units lo to hi of the operation; worker numbers the
	// thread, for its scratch.
	run(lo, hi, worker int)
}

// pool is the backend's threads. The goroutine that calls run is one of them.
//
// An operation is cut into chunks, of which each thread has a share that
// lies together. It claims a quarter of what is left of its share at a time, and
// when that is empty takes from the end of another's: a thread that the system
// has taken away, or that wakes late, then delays nothing but what it is at, and
// what a kernel asks for beyond the end of a chunk is mostly the same thread's
// next. A helper that finds nothing to do looks for more a while before it sleeps,
// since operations of one token follow each other within microseconds, and Go
// takes as long to move a woken goroutine to another processor as to read a
// megabyte of weights.
type pool struct {
	helpers []*helper
	all     sync.WaitGroup // the helper goroutines

	// The operation, written before its chunks are shared out. A helper reads it
	// only between claiming chunks and finishing them, when run is waiting.
	t     task
	n     int // units
	grain int // units of a chunk; the last may have fewer

	shares []share // [threads]

	naps int // how often a thread naps

	overlapped []func() // what a run does first, while the helpers compute
	passed     int      // runs of one chunk that left it to a later one

	unfinished atomic.Int64  // chunks that are not computed yet
	waiting    atomic.Bool   // run sleeps: whoever clears it sends on finished, or stays awake
	finished   chan struct{} // one message
	closed     atomic.Bool   // helpers need not look any more
}

// share is the chunks from lo to hi that nobody has begun, hi in the upper half.
type share struct {
	lohi atomic.Uint64
	_    [56]byte // no two threads write to one cache line
}

// atOnce is the part of a share that a thread claims at once: one in so many.
const atOnce = 4

// take claims chunks from the beginning of a share or from its end; from == to
// if there are none.
func (s *share) take(end bool) (from, to int) {
	for {
		v := s.lohi.Load()
		lo, hi := unpack(v)
		if lo >= hi {
			return 0, 0
		}
		n := max(1, (hi-lo)/atOnce)
		if end {
			from, to, hi = hi-n, hi, hi-n
		} else {
			from, to, lo = lo, lo+n, lo+n
		}
		if s.lohi.CompareAndSwap(v, pack(lo, hi)) {
			return from, to
		}
	}
}

func pack(lo, hi int) uint64          { return uint64(hi)<<32 | uint64(lo) }
func unpack(lohi uint64) (lo, hi int) { return int(uint32(lohi)), int(lohi >> 32) }

// helper is one goroutine of a pool.
type helper struct {
	asleep atomic.Bool   // or about to be: whoever clears it sends on wake, or stays awake
	wake   chan struct{} // one message
}

// spins is how often a thread looks for work, or for the end of an operation,
// before it naps: some 0.4 ms if nobody else has use for the processor, longer than
// the caller takes between the operations of a token.
const spins = 4000

// naps and napTime are how often a thread then looks between naps before it
// sleeps, and how long it asks to nap. The system makes that some 70 us, so all
// naps last 7 ms, in which most reads end that a token waits for. Package shortsleep says
// what sleeping costs.
const (
	naps    = 100
	napTime = 20 * time.Microsecond
)

// mostPassed is how many operations of one chunk, in which no helper computes,
// leave what is to overlap to a later one: a norm and the rounding of
// its output come before the matrices.
const mostPassed = 2

// newPool starts threads-1 helpers.
func newPool(threads int) *pool {
	p := &pool{helpers: make([]*helper, threads-1), shares: make([]share, threads), finished: make(chan struct{}, 1)}
	if threads <= runtime.GOMAXPROCS(0) { // else who naps keeps who computes from its processor
		p.naps = naps
	}
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
			p.doOverlapped()
		case len(p.overlapped) > 0:
			p.passed++
		}
		if n > 0 {
			t.run(0, n, 0)
		}
		return
	}
	p.t, p.n, p.grain = t, n, grain
	p.unfinished.Store(int64(chunks))
	p.shareOut(chunks)
	for _, h := range p.helpers[:min(chunks-1, len(p.helpers))] {
		if h.asleep.Load() && h.asleep.Swap(false) {
			h.wake <- struct{}{}
		}
	}
	p.doOverlapped()
	p.work(0)
	p.wait()
}

// shareOut gives each thread its share of chunks.
func (p *pool) shareOut(chunks int) {
	for i := range p.shares {
		p.shares[i].lohi.Store(pack(i*chunks/len(p.shares), (i+1)*chunks/len(p.shares)))
	}
}

// pending reports whether there is a chunk that nobody has begun.
func (p *pool) pending() bool {
	for i := range p.shares {
		if lo, hi := unpack(p.shares[i].lohi.Load()); lo < hi {
			return true
		}
	}
	return false
}

// doOverlapped does what was to overlap an operation.
func (p *pool) doOverlapped() {
	if len(p.overlapped) == 0 {
		return
	}
	for _, f := range p.overlapped {
		f()
	}
	clear(p.overlapped)
	p.overlapped, p.passed = p.overlapped[:0], 0
}

// wait returns when no chunk is unfinished.
func (p *pool) wait() {
	for looked := range spins + p.naps {
		if p.unfinished.Load() == 0 {
			return
		}
		lookAgain(looked)
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
		from, to := p.claim(worker)
		if from == to {
			return
		}
		p.t.run(from*p.grain, min(to*p.grain, p.n), worker)
		if p.unfinished.Add(int64(from-to)) == 0 && p.waiting.Swap(false) {
			p.finished <- struct{}{}
		}
	}
}

// claim is chunks of worker's share or, when that is empty, of another's.
func (p *pool) claim(worker int) (from, to int) {
	for i := range p.shares {
		if from, to = p.shares[(worker+i)%len(p.shares)].take(i > 0); from < to {
			break
		}
	}
	return from, to
}

// help works until the pool is closed.
func (p *pool) help(h *helper, worker int) {
	for {
		p.spin(worker)
		h.asleep.Store(true)
		// An operation may have begun since the last look.
		if p.pending() && h.asleep.Swap(false) {
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
	for idle := 0; idle < spins+p.naps && !p.closed.Load(); idle++ {
		if p.pending() {
			p.work(worker)
			idle = 0
		}
		lookAgain(idle)
	}
}

// lookAgain is what a thread does between two looks, after so many in vain.
func lookAgain(looked int) {
	if looked >= spins {
		shortsleep.For(napTime)
	}
	runtime.Gosched()
}

// close ends the helpers. None computes, since no operation is under way.
func (p *pool) close() {
	p.closed.Store(true)
	for _, h := range p.helpers {
		close(h.wake)
	}
	p.all.Wait()
}
