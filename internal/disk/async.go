package disk

import "sync"

// Request is one read of an AsyncFile: as many bytes as Bufs hold, from Off
// on. It belongs to the file from Submit until it has ended.
type Request struct {
	Bufs [][]byte
	Off  int64
	// Owner is told the outcome.
	Owner Owner

	n   int // outcome of a request that has ended
	err error
}

// Owner is whose request it is.
type Owner interface {
	// Ended says that the request brought n bytes, which may be fewer than
	// were asked for without an error, as those of system calls. It is called
	// by whoever polls, and may submit the request again.
	Ended(n int, err error)
}

// AsyncFile is a File whose requests run beside the computation. It has no
// thread that waits for them: a thread that wakes for each read would have to
// fight for a processor with the computation, whose threads spin on all of
// them, and Go's scheduler would hand it one every ten milliseconds. Whoever
// wants a read looks whether it is there.
type AsyncFile interface {
	File
	// Submit starts requests, in their order. It does not wait.
	Submit(rs []*Request)
	// Poll tells the owners of the requests that have ended. With wait and
	// where there are none yet it waits for one, unless none is under way; or, if
	// another is polling, for that: its own may be what the other then told of.
	Poll(wait bool)
}

// pollTurn lets one goroutine poll at a time.
type pollTurn struct{ mu sync.Mutex }

// take reports whether it is the caller's turn, who then gives it back, and whether
// there is still to be waited. Who does not wait has nothing to do while another
// polls.
func (p *pollTurn) take(wait bool) (mine, still bool) {
	if p.mu.TryLock() {
		return true, wait
	}
	if wait {
		p.mu.Lock()
	}
	return wait, false
}

func (p *pollTurn) give() { p.mu.Unlock() }
