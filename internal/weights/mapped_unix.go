//go:build unix

package weights

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// mappedFile copies out of a mapping of the whole file and then lets go of
// the pages, so that what was read counts against nobody's memory.
type mappedFile struct {
	f *os.File
	m []byte
}

func openMapped(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: open: %w", err)
	}
	st, err := f.Stat()
	if err == nil {
		var m []byte
		if m, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err == nil {
			return &mappedFile{f, m}, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("weights: map %s: %w", path, err)
}

func (m *mappedFile) ReadVec(bufs [][]byte, off int64) (n int, err error) {
	// A mapping faults where the file was cut short or the disk fails.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read %s through its mapping at %d: %v", m.f.Name(), off, r)
		}
	}()
	start := off
	for _, p := range bufs {
		if off >= int64(len(m.m)) {
			return n, io.ErrUnexpectedEOF
		}
		c := copy(p, m.m[off:])
		n, off = n+c, off+int64(c)
	}
	lo := start &^ (pageAlign - 1)
	hi := min((off+pageAlign-1)&^(pageAlign-1), int64(len(m.m)))
	_ = unix.Madvise(m.m[lo:hi], unix.MADV_DONTNEED)
	return n, nil
}

func (m *mappedFile) Align() int64               { return 1 }
func (m *mappedFile) Stat() (fs.FileInfo, error) { return m.f.Stat() }

func (m *mappedFile) Close() error {
	if err := unix.Munmap(m.m); err != nil {
		return fmt.Errorf("weights: unmap %s: %w", m.f.Name(), err)
	}
	return m.f.Close()
}
