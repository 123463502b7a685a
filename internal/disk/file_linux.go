package disk

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// directFile reads past the page cache (O_DIRECT).
type directFile struct {
	files
	align int64
}

// openDirect opens files for direct reads at multiples of align, a power of two
// of at least 512, if their file systems have them.
func openDirect(of []pack.File, align int64) (*directFile, bool) {
	for _, f := range of {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, f.Path, 0, unix.STATX_DIOALIGN, &st)
		known := err == nil && st.Mask&unix.STATX_DIOALIGN != 0
		if known && (st.Dio_offset_align == 0 || int64(max(st.Dio_offset_align, st.Dio_mem_align)) > align) {
			return nil, false
		}
	}
	all, err := openFiles(of, unix.O_DIRECT)
	if err != nil {
		return nil, false
	}
	d := &directFile{all, align}
	if err := d.try(); err != nil {
		d.Close()
		return nil, false
	}
	return d, true
}

// try reads as little as ever of each file, at an offset and an address no rounder
// than ever: a file system can take the flag and still refuse the first read.
func (d *directFile) try() error {
	m, err := memory.New(2 * memory.PageAlign)
	if err != nil {
		return err
	}
	defer m.Close()
	buf := m.Buffer(2 * memory.PageAlign)[d.align : 2*d.align]
	for _, f := range d.files {
		off := f.start
		if f.end-f.start > d.align {
			off += d.align
		}
		if _, err := d.ReadVec([][]byte{buf}, off); err != nil {
			return err
		}
	}
	return nil
}

func (d *directFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	f := &d.files[d.at(off)]
	n, err := readVec(f.File, bufs, off-f.start, d.align)
	want := size(bufs)
	if n = f.padded(off, n, want, d.align); int64(n) == want {
		err = nil
	}
	return n, err
}

func (d *directFile) Align() int64 { return d.align }

// readVec is preadv: one system call for all buffers, repeated while reads
// come short.
func readVec(f *os.File, bufs [][]byte, off, align int64) (int, error) {
	return fill(bufs, off, align, func(bufs [][]byte, off int64) (int, error) {
		const most = 1024 // IOV_MAX of every Linux
		for {
			n, err := unix.Preadv(int(f.Fd()), bufs[:min(len(bufs), most)], off)
			if err != unix.EINTR {
				return max(n, 0), err
			}
		}
	})
}

// readCached is readVec of what is in the page cache: the call does not wait, so
// that the scheduler need not hear of it, as it does not of io_uring's.
func readCached(f *os.File, bufs [][]byte, off int64) (int, error) {
	return fill(bufs, off, 1, func(bufs [][]byte, off int64) (int, error) {
		var vectors [64]unix.Iovec
		n := min(len(bufs), len(vectors))
		for i, b := range bufs[:n] {
			vectors[i].Base = unsafe.SliceData(b)
			vectors[i].SetLen(len(b))
		}
		for {
			got, _, errno := unix.RawSyscall6(unix.SYS_PREADV, f.Fd(), uintptr(unsafe.Pointer(&vectors[0])), uintptr(n), uintptr(off), 0, 0)
			switch errno {
			case 0:
				return int(got), nil
			case unix.EINTR:
			default:
				return 0, errno
			}
		}
	})
}

// noReadahead keeps the page cache from filling with what nobody asked for.
func noReadahead(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) }

// dropCache takes what was read out of the page cache, which the budget does
// not cover. The kernel drops whole pages only, so the range grows to pages.
func dropCache(f *os.File, off, n int64) {
	page := int64(os.Getpagesize())
	lo := off / page * page
	_ = unix.Fadvise(int(f.Fd()), lo, memory.AlignUp(off+n, page)-lo, unix.FADV_DONTNEED)
}

// inPageCache reports whether the system is known to have n bytes of f from off
// on in its page cache.
func inPageCache(f *os.File, off, n int64) bool {
	var st unix.Cachestat_t
	err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &st, 0) // Linux 6.5
	return err == nil && int64(st.Cache)*int64(os.Getpagesize()) >= n
}
