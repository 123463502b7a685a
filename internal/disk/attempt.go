package disk

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Traffic counts reads. Several goroutines may add to it.
type Traffic struct{ bytes, reads atomic.Int64 }

// BytesRead is the number of bytes read so far.
func (t *Traffic) BytesRead() int64 { return t.bytes.Load() }

// Reads is the number of reads so far.
func (t *Traffic) Reads() int64 { return t.reads.Load() }

// attempt is the way from a read to its outcome. A request that came short
// goes on where it ended. After an error the read is tried once more: disks
// and networks have hiccups that a second try gets over, and a failed token
// loses the sequence.
type attempt struct {
	Request          // what is left to be read
	bufs    [][]byte // all that is to be read, from off on
	off     int64
	brought int64 // bytes of this try
	second  bool  // try
	failure error // of the second
}

// next takes in what the request brought, and reports whether it is to be made
// again. It is counted in t.
func (a *attempt) next(s *DiskWeightStore, t *Traffic, n int, err error) (again bool) {
	a.brought += int64(n)
	t.bytes.Add(int64(n))
	a.Off += int64(n)
	a.Bufs = advance(a.Bufs, n)
	switch {
	case err == nil && len(a.Bufs) == 0:
		t.reads.Add(1)
		return false
	case err == nil && (n == 0 || int64(n)%s.file.Align() != 0):
		// The end of the file: no read could go on from there.
		err = io.ErrUnexpectedEOF
	case err == nil:
		return true
	}
	if !a.second {
		a.second = true
		a.Bufs, a.Off, a.brought = advance(a.bufs, 0), a.off, 0
		return true
	}
	t.reads.Add(1)
	path, off := s.pack.Where(a.off)
	a.failure = fmt.Errorf("read %s at offset %d: got %w after %d bytes, want %d", path, off, err, a.brought, size(a.bufs))
	return false
}
