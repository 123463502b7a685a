package cpu

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// tally counts how often each unit is computed, and by whom at the same time.
type tally struct {
	units  []atomic.Int32
	busy   []atomic.Int32 // of each worker
	slow   bool           // helpers are slow, the caller is not
	failed atomic.Bool
}

func (c *tally) run(lo, hi, worker int) {
	if c.busy[worker].Add(1) != 1 {
		c.failed.Store(true)
	}
	for i := lo; i < hi; i++ {
		c.units[i].Add(1)
	}
	if c.slow && worker > 0 {
		time.Sleep(2 * time.Millisecond)
	}
	c.busy[worker].Add(-1)
}

// check runs n units on p and fails unless each is computed once before run
// returns.
func (c *tally) check(t *testing.T, p *pool, n, grain int) {
	t.Helper()
	c.units, c.busy = make([]atomic.Int32, n), make([]atomic.Int32, p.threads())
	p.run(c, n, grain)
	for i := range c.units {
		if got := c.units[i].Load(); got != 1 {
			t.Fatalf("%d units in chunks of %d on %d threads: unit %d was computed %d times", n, grain, p.threads(), i, got)
		}
	}
	if c.failed.Load() {
		t.Fatal("two chunks at a time with one worker's scratch")
	}
}

func TestPool(t *testing.T) {
	for threads := 1; threads <= 5; threads++ {
		p := newPool(threads)
		var c tally
		for _, n := range []int{0, 1, 2, 3, 7, 64, 1000} {
			for _, grain := range []int{1, 2, 5, 999, 1001} {
				for range 20 {
					c.check(t, p, n, grain)
				}
			}
		}
		p.close()
	}
}

// A thread's share lies together, and is taken from its beginning; when there is
// no more, the others' are, from their ends.
func TestPoolShares(t *testing.T) {
	var a, b share
	a.lohi.Store(pack(0, 40))
	type claim struct{ from, to int }
	take := func(s *share, end bool) claim {
		from, to := s.take(end)
		return claim{from, to}
	}
	if got := []claim{take(&a, false), take(&a, false), take(&a, true)}; !slices.Equal(got, []claim{{0, 10}, {10, 17}, {35, 40}}) {
		t.Errorf("from 40 chunks: got %v", got)
	}
	b.lohi.Store(pack(70, 71))
	if got := []claim{take(&b, true), take(&b, true), take(&b, false)}; !slices.Equal(got, []claim{{70, 71}, {}, {}}) {
		t.Errorf("from one chunk: got %v", got)
	}
}

// Helpers that went to sleep are woken, and a caller that is done before them
// sleeps until they are.
func TestPoolSleeps(t *testing.T) {
	p := newPool(3)
	defer p.close()
	c := tally{slow: true}
	for range 5 {
		time.Sleep(5 * time.Millisecond)
		c.check(t, p, 200, 1)
	}
	for i, h := range p.helpers {
		wantSleep(t, i, h)
	}
}

// Threads nap where each has a processor of its own, and sleep in the end.
func TestPoolNaps(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	for _, threads := range []int{max(2, procs), procs + 1} {
		p := newPool(threads)
		if nap := threads <= procs; nap != (p.naps > 0) {
			t.Errorf("%d threads, %d processors: got %d naps", threads, procs, p.naps)
		}
		for i, h := range p.helpers {
			wantSleep(t, i, h)
		}
		p.close()
	}
}

// wantSleep waits for a helper to sleep.
func wantSleep(t *testing.T, i int, h *helper) {
	t.Helper()
	// How long it takes is the other programs' doing too.
	for end := time.Now().Add(30 * time.Second); !h.asleep.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("helper %d does not sleep, with nothing to do", i)
		}
	}
}

// A helper that is given work now and then stays awake, however often it has
// looked in vain in all.
func TestPoolStaysAwake(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines take turns
	p := newPool(1)
	defer p.close()
	const ops = 3 * spins
	var c tally
	c.units, c.busy = make([]atomic.Int32, 1), make([]atomic.Int32, 1)
	p.t, p.n, p.grain = &c, 1, 1
	go func() {
		for range ops {
			p.unfinished.Store(1)
			p.shareOut(1)
			for p.unfinished.Load() != 0 {
				runtime.Gosched()
			}
		}
	}()
	runtime.Gosched()
	p.spin(0)
	if got := c.units[0].Load(); got != ops {
		t.Errorf("fell asleep after %d operations of %d", got, ops)
	}
}

// A helper that counted an earlier operation's last chunk and was then taken
// away sends its message into a later operation, which is not done by that.
func TestPoolLateMessage(t *testing.T) {
	p := newPool(1)
	defer p.close()
	p.unfinished.Store(1)
	var done atomic.Bool
	go func() {
		send := func() {
			for !p.waiting.Swap(false) {
				time.Sleep(10 * time.Microsecond)
			}
			p.finished <- struct{}{}
		}
		send()
		time.Sleep(5 * time.Millisecond)
		done.Store(true)
		p.unfinished.Add(-1)
		send()
	}()
	p.wait()
	if !done.Load() {
		t.Fatal("wait returned with a chunk unfinished")
	}
}

// Every helper takes part if there is enough to do.
func TestPoolUsesAllThreads(t *testing.T) {
	p := newPool(3)
	defer p.close()
	var r roll
	p.run(&r, 300, 1)
	for worker := range r {
		if r[worker].Load() == 0 {
			t.Errorf("worker %d of %d computed nothing", worker, len(r))
		}
	}
}

// roll counts what each worker computes, slowly.
type roll [3]atomic.Int32

func (r *roll) run(lo, hi, worker int) {
	r[worker].Add(int32(hi - lo))
	time.Sleep(100 * time.Microsecond)
}

// What is done beside an operation is done once, by the caller, before the
// operation ends; where there is nobody to share with, before it begins.
func TestOverlap(t *testing.T) {
	for _, threads := range []int{1, 3} {
		p := newPool(threads)
		for _, n := range []int{0, 1, 100} {
			done := 0
			p.overlapped = append(p.overlapped, func() { done++ }, func() { done += 10 })
			for i := range mostPassed + 2 {
				p.run(&counter{}, n, 1)
				want := 11
				if i < mostPassed && n < 2 && threads > 1 {
					want = 0 // nobody else computes: a later operation may be another
				}
				if done != want {
					t.Errorf("%d threads, %d units, operation %d: got %d, want %d", threads, n, i, done, want)
				}
			}
		}
		p.close()
	}
}

// counter is a task that counts its units.
type counter struct{ n atomic.Int64 }

func (c *counter) run(lo, hi, _ int) { c.n.Add(int64(hi - lo)) }
