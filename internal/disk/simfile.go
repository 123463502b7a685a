package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/shortsleep"
)

// simFile is a pack's file behind a simulated disk. A read's bytes are copied
// when it begins, as much a burden on the processor as a real read's, and are
// said to be there when the disk would have brought them.
//
// The bytes come from the system's page cache, which is the copy in memory
// that stands for the disk: it is no part of the budget nor of this process's
// resident memory, and serves every process. Opening the file reads them
// there.
type simFile struct {
	File   // the real disk's, which is how reads are to be aligned
	cached files
	spec   SimSpec
	start  time.Time // of the clock

	mu      sync.Mutex
	free    time.Duration // when the disk has served all requests so far
	queue   []pending     // under way, in the order in which they end
	polling pollTurn
}

// OpenSim opens p's file behind a simulated disk.
func OpenSim(p *pack.Pack, spec SimSpec) (AsyncFile, error) {
	f, err := OpenFile(p, "")
	if err != nil {
		return nil, err
	}
	cached, err := openFiles(p.Files(), 0)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := &simFile{File: f, cached: cached, spec: spec, start: time.Now()}
	for _, c := range cached {
		if err := warm(c.File, c.end-c.start); err != nil {
			return nil, errors.Join(fmt.Errorf("disk: read %s into the page cache: %w", c.Name(), err), s.Close())
		}
	}
	return s, nil
}

// Opener is OpenSim for the given disk.
func (s SimSpec) Opener() func(*pack.Pack) (File, error) {
	return func(p *pack.Pack) (File, error) { return OpenSim(p, s) }
}

// warm has the file in the page cache: it reads where the system has let go of it.
func warm(f *os.File, size int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), size-off)]
		if inPageCache(f, off, int64(len(buf))) {
			continue
		}
		if _, err := f.ReadAt(buf, off); err != nil {
			return err
		}
	}
	return nil
}

func (s *simFile) now() time.Duration { return time.Since(s.start) }

// pending is a request under way: what it brought, and when that is told.
type pending struct {
	request *Request
	n       int
	err     error
	due     time.Duration
}

// begin reads, and says when the request ends.
func (s *simFile) begin(r *Request) pending {
	n := int64(0)
	for _, b := range r.Bufs {
		n += int64(len(b))
	}
	s.mu.Lock()
	s.free = max(s.free, s.now()) + time.Duration(s.spec.Speed().Seconds(n)*float64(time.Second))
	p := pending{request: r, due: s.free + s.spec.Latency}
	s.mu.Unlock()
	f := &s.cached[s.cached.at(r.Off)]
	p.n, p.err = readCached(f.File, r.Bufs, r.Off-f.start)
	if p.n = f.padded(r.Off, p.n, n, s.Align()); int64(p.n) == n {
		p.err = nil
	}
	return p
}

// ReadVec reads and waits.
func (s *simFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	p := s.begin(&Request{Bufs: bufs, Off: off})
	s.sleep(p.due)
	return p.n, p.err
}

// Submit starts requests.
func (s *simFile) Submit(rs []*Request) {
	for _, r := range rs {
		p := s.begin(r)
		s.mu.Lock()
		s.queue = append(s.queue, p)
		s.mu.Unlock()
	}
}

// Poll tells the owners of the requests whose time has come.
func (s *simFile) Poll(wait bool) {
	mine, wait := s.polling.take(wait)
	if !mine {
		return
	}
	defer s.polling.give()
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || !wait && s.queue[0].due > s.now() {
			s.mu.Unlock()
			return
		}
		p := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		s.sleep(p.due)
		wait = false // the rest is told of if it is there
		p.request.Owner.Ended(p.n, p.err)
	}
}

// sleep waits for a time on the file's clock, to some microseconds: most of
// it asleep, the end of it awake, since timers come late by as much as a read
// takes.
func (s *simFile) sleep(until time.Duration) {
	const late, longest = 120 * time.Microsecond, 200 * time.Microsecond
	for {
		left := until - s.now()
		if left <= 0 {
			return
		}
		if left > late {
			shortsleep.For(min(left-late, longest))
		}
		runtime.Gosched()
	}
}

func (s *simFile) Close() error { return errors.Join(s.cached.Close(), s.File.Close()) }
