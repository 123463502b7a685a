package disk

import "sync"

// readPool makes an AsyncFile of any File, by a few goroutines each of which
// reads one request at a time.
type readPool struct {
	File
	workers sync.WaitGroup

	mu     sync.Mutex
	more   sync.Cond  // queue has grown, or closed is set
	fewer  sync.Cond  // ended has grown
	queue  []*Request // those from begun on are not begun
	begun  int
	ended  []*Request // whose owners have not been told
	open   int        // requests whose owners have not been told
	closed bool

	polling pollTurn
	told    []*Request // by the latest poll
}

// Queue is f where it is an AsyncFile, and otherwise an AsyncFile that reads f
// by some goroutines. stop ends them, once no request is under way.
func Queue(f File, workers int) (q AsyncFile, stop func()) {
	if a, ok := f.(AsyncFile); ok {
		return a, func() {}
	}
	p := newReadPool(f, workers)
	return p, p.stop
}

// newReadPool starts workers for requests to f, which stays the caller's.
func newReadPool(f File, workers int) *readPool {
	p := &readPool{File: f}
	p.more.L, p.fewer.L = &p.mu, &p.mu
	for range workers {
		p.workers.Go(p.work)
	}
	return p
}

func (p *readPool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.begun == len(p.queue) {
			if p.closed {
				return
			}
			p.more.Wait()
		}
		r := p.queue[p.begun]
		if p.begun++; p.begun == len(p.queue) {
			p.queue, p.begun = p.queue[:0], 0
		}
		p.mu.Unlock()
		r.n, r.err = p.ReadVec(r.Bufs, r.Off)
		p.mu.Lock()
		p.ended = append(p.ended, r)
		p.fewer.Broadcast()
	}
}

func (p *readPool) Submit(rs []*Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, rs...)
	p.open += len(rs)
	for range rs {
		p.more.Signal()
	}
}

func (p *readPool) Poll(wait bool) {
	mine, wait := p.polling.take(wait)
	if !mine {
		return
	}
	defer p.polling.give()
	p.mu.Lock()
	for wait && len(p.ended) == 0 && p.open > 0 {
		p.fewer.Wait()
	}
	p.told, p.ended = p.ended, p.told[:0]
	p.open -= len(p.told)
	p.mu.Unlock()
	for i, r := range p.told {
		p.told[i] = nil
		r.Owner.Ended(r.n, r.err)
	}
}

// stop ends the workers. No request is under way.
func (p *readPool) stop() {
	p.mu.Lock()
	p.closed = true
	p.more.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}
