package cpu

import "sync"

// task is an operation whose outputs can be computed in any split.
type task interface {
	// run computes the units lo to hi of the operation; worker numbers the
	// thread, for its scratch.
	run(lo, hi, worker int)
}

// pool is the backend's threads. The goroutine that calls run is one of them.
type pool struct {
	jobs []chan job // one per helper goroutine
	done sync.WaitGroup
	all  sync.WaitGroup // the helper goroutines themselves
}

type job struct {
	t      task
	lo, hi int
}

func newPool(threads int) *pool {
	p := &pool{jobs: make([]chan job, threads-1)}
	for i := range p.jobs {
		p.jobs[i] = make(chan job, 1)
		p.all.Add(1)
		go func() {
			defer p.all.Done()
			for j := range p.jobs[i] {
				j.t.run(j.lo, j.hi, i+1)
				p.done.Done()
			}
		}()
	}
	return p
}

// run splits n units over the threads in runs of at least grain units, and
// returns when all are done.
func (p *pool) run(t task, n, grain int) {
	parts := min(len(p.jobs)+1, (n+grain-1)/max(grain, 1))
	if parts <= 1 {
		if n > 0 {
			t.run(0, n, 0)
		}
		return
	}
	p.done.Add(parts - 1)
	for i := 1; i < parts; i++ {
		p.jobs[i-1] <- job{t, i * n / parts, (i + 1) * n / parts}
	}
	t.run(0, n/parts, 0)
	p.done.Wait()
}

func (p *pool) close() {
	for _, c := range p.jobs {
		close(c)
	}
	p.all.Wait()
}
