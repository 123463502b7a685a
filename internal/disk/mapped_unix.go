//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// mappedFile copies out of a mapping of the whole file and then lets go of
// the pages, so that what was read no longer counts as this process's memory.
// It stays in the page cache for as long as the system likes.
type mappedFile struct {
	f *os.File
	m []byte
}

func openMapped(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	st, err := f.Stat()
	if err == nil {
		var m []byte
		if m, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err == nil {
			return &mappedFile{f, m}, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("disk: map %s: %w", path, err)
}

func (m *mappedFile) ReadVec(bufs [][]byte, off int64) (n int, err error) {
	// A mapping faults where the file was cut short or the disk fails.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface {
			error
			Addr() uintptr
		})
		if !ok {
			panic(r)
		}
		err = fmt.Errorf("a fault in the file's mapping (%w)", fault)
	}()
	start := off
	for _, p := range bufs {
		c := 0
		if off < int64(len(m.m)) {
			c = copy(p, m.m[off:])
		}
		n, off = n+c, off+int64(c)
		if c < len(p) {
			return n, io.ErrUnexpectedEOF
		}
	}
	// What lies in the mapping's last page behind a new end of the file does
	// not fault but reads as zeros.
	var st unix.Stat_t
	if err := unix.Fstat(int(m.f.Fd()), &st); err != nil {
		return n, err
	} else if off > st.Size {
		return n, io.ErrUnexpectedEOF
	}
	page := int64(os.Getpagesize())
	if hi := min(memory.AlignUp(off, page), int64(len(m.m))); hi > start {
		_ = unix.Madvise(m.m[start/page*page:hi], unix.MADV_DONTNEED)
	}
	return n, nil
}

func (m *mappedFile) Align() int64               { return 1 }
func (m *mappedFile) Stat() (fs.FileInfo, error) { return m.f.Stat() }

func (m *mappedFile) Close() error {
	err := unix.Munmap(m.m)
	if err != nil {
		err = fmt.Errorf("disk: unmap %s: %w", m.f.Name(), err)
	}
	return errors.Join(err, m.f.Close())
}
