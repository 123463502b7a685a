package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// ring is an io_uring: a queue of requests and one of outcomes, both shared
// with the kernel, which reads without a thread of ours. See io_uring(7). A
// read costs a fraction of a pread's processor time, and a poll two loads as
// long as nothing has ended. Registered buffers would save little, must be of
// one piece, which joined reads are not, and pin all slots.
type ring struct {
	files   files
	align   int64 // of requests
	fd      int
	shared  []byte // heads, tails and outcomes
	entries []byte // what sqes are in
	sqes    []sqe
	head    *uint32 // of the outcomes: ours
	tail    *uint32 // of the outcomes: the kernel's
	cqes    []cqe

	submitting sync.Mutex // guards what follows
	sqHead     *uint32    // the kernel's
	sqTail     *uint32    // ours
	backlog    []*Request // for which there was no room
	flying     []*Request // by number; nil: the number is free
	free       []uint32   // numbers
	vectors    []unix.Iovec
	ended      []*Request // since the last reap

	refused atomic.Bool // some have ended without an outcome in the queue

	polling pollTurn   // of who tells owners or waits for the kernel
	told    []*Request // of the last reap
}

// ringDepth is the most requests under way. It is as many as the block layer
// queues for a disk: beyond that the kernel would need threads of its own.
const ringDepth = 256

// ringVectors is the most buffers of all requests of one system call; and of
// one request, as of any of Linux's (IOV_MAX).
const ringVectors = 1024

// Parts of the kernel's interface: linux/io_uring.h.
type (
	sqe struct {
		opcode, flags uint8
		ioprio        uint16
		fd            int32
		off, addr     uint64
		len, rwFlags  uint32
		user          uint64
		_             [3]uint64
	}
	cqe struct {
		user  uint64
		res   int32
		flags uint32
	}
	sqOffsets struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cqOffsets struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
	ringParams struct {
		sqEntries, cqEntries, flags, cpu, idle, features, wqFD uint32
		_                                                      [3]uint32
		sq                                                     sqOffsets
		cq                                                     cqOffsets
	}
)

const (
	opReadV     = 1
	opRead      = 22
	fixedFile   = 1 // the descriptor is the number of a registered file
	getEvents   = 1
	regFiles    = 2
	offSQEs     = 0x10000000
	oneMapping  = 1 << 0 // features
	stableAfter = 1 << 2 // what a request points to may go once it is submitted
)

// newRing makes a ring that reads what d does. An old kernel or a sandbox may
// refuse.
func newRing(d *directFile) (*ring, error) {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringDepth, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("disk: set up io_uring: %w", errno)
	}
	r := &ring{fd: int(fd), files: d.files, align: d.align}
	if err := r.init(&p); err != nil {
		return nil, errors.Join(fmt.Errorf("disk: set up io_uring: %w", err), r.close())
	}
	return r, nil
}

func (r *ring) init(p *ringParams) error {
	if want := uint32(oneMapping | stableAfter); p.features&want != want || p.sqEntries < ringDepth || p.cqEntries < ringDepth {
		return errors.ErrUnsupported
	}
	fds := make([]int32, len(r.files))
	for i, f := range r.files {
		fds[i] = int32(f.Fd())
	}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), regFiles, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), 0, 0); errno != 0 {
		return errno
	}
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	const access, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	var err error
	if r.shared, err = unix.Mmap(r.fd, 0, int(size), access, kind); err != nil {
		return err
	}
	if r.entries, err = unix.Mmap(r.fd, offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), access, kind); err != nil {
		return err
	}
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.sqHead, r.sqTail = word(r.shared, p.sq.head), word(r.shared, p.sq.tail)
	r.head, r.tail = word(r.shared, p.cq.head), word(r.shared, p.cq.tail)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.shared[p.cq.cqes])), p.cqEntries)
	// The kernel's queue is one of numbers of entries: here each is its own.
	numbers := unsafe.Slice(word(r.shared, p.sq.array), p.sqEntries)
	for i := range numbers {
		numbers[i] = uint32(i)
	}
	r.flying = make([]*Request, ringDepth)
	for i := range r.flying {
		r.free = append(r.free, uint32(i))
	}
	r.vectors = make([]unix.Iovec, 0, ringVectors)
	return nil
}

func word(b []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }

// Submit starts requests, or puts them off until others have ended.
func (r *ring) Submit(rs []*Request) {
	r.submitting.Lock()
	defer r.submitting.Unlock()
	r.backlog = append(r.backlog, rs...)
	r.pump()
}

// pump hands the kernel what it can take of the backlog.
func (r *ring) pump() {
	begun := 0
	for begun < len(r.backlog) {
		n := r.fill(r.backlog[begun:])
		if n == 0 {
			break
		}
		begun += n
	}
	r.backlog = append(r.backlog[:0], r.backlog[begun:]...)
}

// fill begins as many requests as one system call can, and returns how many.
func (r *ring) fill(rs []*Request) (begun int) {
	r.vectors = r.vectors[:0]
	tail := *r.sqTail
	for _, q := range rs {
		bufs := q.Bufs[:min(len(q.Bufs), ringVectors)]
		if len(r.free) == 0 || len(r.vectors)+len(bufs) > ringVectors {
			break
		}
		id := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		r.flying[id] = q
		e := &r.sqes[tail%uint32(len(r.sqes))]
		of := r.files.at(q.Off)
		*e = sqe{opcode: opRead, flags: fixedFile, fd: int32(of), off: uint64(q.Off - r.files[of].start), user: uint64(id)}
		if len(bufs) == 1 {
			e.addr, e.len = address(bufs[0]), uint32(len(bufs[0]))
		} else {
			first := len(r.vectors)
			for _, b := range bufs {
				v := unix.Iovec{Base: unsafe.SliceData(b)}
				v.SetLen(len(b))
				r.vectors = append(r.vectors, v)
			}
			e.opcode, e.addr, e.len = opReadV, uint64(uintptr(unsafe.Pointer(&r.vectors[:first+1][first]))), uint32(len(bufs))
		}
		tail++
		begun++
	}
	atomic.StoreUint32(r.sqTail, tail)
	r.enter(uint32(begun))
	return begun
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// enter gives the kernel n entries. It is a raw call, since it does not wait:
// the thread keeps its processor. Entries that the kernel refuses are taken
// back, and their requests end with its error.
func (r *ring) enter(n uint32) {
	for n > 0 {
		done, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, 0, 0, 0)
		switch errno {
		case 0:
			n -= uint32(done)
		case unix.EINTR, unix.EAGAIN, unix.EBUSY: // short of memory for the moment
		default:
			head := atomic.LoadUint32(r.sqHead)
			for at := head; at != head+n; at++ {
				r.end(uint32(r.sqes[at%uint32(len(r.sqes))].user), -int32(errno))
			}
			atomic.StoreUint32(r.sqTail, head)
			r.refused.Store(true)
			return
		}
	}
}

// end takes the request with a number out of flight.
func (r *ring) end(id uint32, res int32) {
	q := r.flying[id]
	r.flying[id] = nil
	r.free = append(r.free, id)
	q.n, q.err = r.files[r.files.at(q.Off)].padded(q.Off, int(res), size(q.Bufs), r.align), nil
	if res < 0 {
		q.n, q.err = 0, unix.Errno(-res)
	}
	r.ended = append(r.ended, q)
}

// Poll tells the owners of what has ended. One goroutine at a time does.
func (r *ring) Poll(wait bool) {
	if !wait && atomic.LoadUint32(r.tail) == atomic.LoadUint32(r.head) && !r.refused.Load() {
		return
	}
	mine, wait := r.polling.take(wait)
	if !mine {
		return
	}
	defer r.polling.give()
	ended, flying := r.reap()
	if wait && len(ended) == 0 && flying {
		// A signal may end the wait early; whoever waits will be back.
		_, _, _ = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, 1, getEvents, 0, 0)
		ended, _ = r.reap()
	}
	for i, q := range ended {
		ended[i] = nil
		q.Owner.Ended(q.n, q.err)
	}
}

// reap is what has ended since the last time, which is valid until the next,
// and whether anything is still under way.
func (r *ring) reap() (ended []*Request, flying bool) {
	r.submitting.Lock()
	defer r.submitting.Unlock()
	head, tail := *r.head, atomic.LoadUint32(r.tail)
	for ; head != tail; head++ {
		c := &r.cqes[head%uint32(len(r.cqes))]
		switch unix.Errno(-c.res) {
		case unix.EINTR, unix.EAGAIN: // as good as not begun
			q := r.flying[c.user]
			r.flying[c.user] = nil
			r.free = append(r.free, uint32(c.user))
			r.backlog = append(r.backlog, q)
		default:
			r.end(uint32(c.user), c.res)
		}
	}
	atomic.StoreUint32(r.head, head)
	r.refused.Store(false)
	r.pump()
	r.told, r.ended = r.ended, r.told[:0]
	return r.told, len(r.free) < ringDepth
}

// close ends the ring. No request is under way.
func (r *ring) close() error {
	var errs []error
	if r.entries != nil {
		errs = append(errs, unix.Munmap(r.entries))
	}
	if r.shared != nil {
		errs = append(errs, unix.Munmap(r.shared))
	}
	return errors.Join(append(errs, unix.Close(r.fd))...)
}

// ringFile is a directFile whose requests go through a ring.
type ringFile struct {
	*directFile
	*ring
}

// withRing makes an AsyncFile of d where the kernel lets it, by a trial: a
// sandbox can allow a ring to be made and forbid its use, and the oldest
// kernels with rings lack the reads.
func withRing(d *directFile) File {
	r, err := newRing(d)
	if err != nil {
		return d
	}
	if r.try(d) != nil {
		_ = r.close() // nothing is under way in it
		return d
	}
	return &ringFile{d, r}
}

// try makes a read of each kind through the ring, and holds it to what d reads.
func (r *ring) try(d *directFile) error {
	// A system call that would never start a read must not be tried for ever.
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	n := int(2 * d.align)
	m, err := memory.New(3 * memory.BufferBytes(int64(n)))
	if err != nil {
		return err
	}
	defer m.Close()
	want, one, two := m.Buffer(int64(n)), m.Buffer(int64(n)), m.Buffer(int64(n))
	if _, err := d.ReadVec([][]byte{want}, 0); err != nil {
		return err
	}
	trials := [2]trial{}
	r.Submit([]*Request{
		{Owner: &trials[0], Bufs: [][]byte{one}},
		{Owner: &trials[1], Bufs: [][]byte{two[:d.align], two[d.align:]}},
	})
	for !trials[0].ended || !trials[1].ended {
		r.Poll(true)
	}
	if err := errors.Join(trials[0].err, trials[1].err); err != nil {
		return err
	}
	if !bytes.Equal(one, want) || !bytes.Equal(two, want) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// trial is the owner of a read whose outcome decides whether a ring is used.
type trial struct {
	ended bool
	err   error
}

func (t *trial) Ended(_ int, err error) { t.ended, t.err = true, err }

func (f *ringFile) Close() error { return errors.Join(f.ring.close(), f.directFile.Close()) }
