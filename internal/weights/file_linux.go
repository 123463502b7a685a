package weights

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// directFile reads past the page cache (O_DIRECT).
type directFile struct {
	f     *os.File
	align int64
}

// openDirect opens path for direct reads, if its file system has them at an
// alignment that a pack's layout meets.
func openDirect(path string) (File, bool) {
	const most = 512 // bundles may start at any multiple of 512
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_DIOALIGN, &st)
	known := err == nil && st.Mask&unix.STATX_DIOALIGN != 0
	if known && (st.Dio_offset_align == 0 || st.Dio_offset_align > most || st.Dio_mem_align > most) {
		return nil, false
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, false
	}
	// A file system can take the flag and still refuse the first read.
	m, err := NewMemory(pageAlign)
	if err != nil {
		f.Close()
		return nil, false
	}
	defer m.Close()
	if _, err := f.ReadAt(m.Buffer(most), 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, false
	}
	return &directFile{f, most}, true
}

func (d *directFile) ReadVec(bufs [][]byte, off int64) (int, error) { return readVec(d.f, bufs, off) }
func (d *directFile) Align() int64                                  { return d.align }
func (d *directFile) Stat() (fs.FileInfo, error)                    { return d.f.Stat() }
func (d *directFile) Close() error                                  { return d.f.Close() }

// readVec is preadv: one system call for all buffers, repeated while reads
// come short.
func readVec(f *os.File, bufs [][]byte, off int64) (int, error) {
	total := 0
	for len(bufs) > 0 {
		const most = 1024 // IOV_MAX of every Linux
		n, err := unix.Preadv(int(f.Fd()), bufs[:min(len(bufs), most)], off+int64(total))
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return total, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
		case n == 0:
			return total, io.ErrUnexpectedEOF
		}
		total += n
		bufs = advance(bufs, n)
	}
	return total, nil
}

// advance is what is left of bufs after n bytes. The caller's slices stay as
// they are.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs = append([][]byte{bufs[0][n:]}, bufs[1:]...)
	}
	return bufs
}

// dropCache takes what was read out of the page cache, which the budget does
// not cover.
func dropCache(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}
