//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// OpenMapping maps the file at path.
func OpenMapping(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	st, err := f.Stat()
	if err == nil {
		var b []byte
		if b, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err == nil {
			return &Mapping{b, f}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("disk: map %s: %w", path, err), f.Close())
}

// letGo gives up the pages of a part that was read, which must be of the file
// still: what lies in the mapping's last page behind a new end of the file does
// not fault but reads as zeros.
func (m *Mapping) letGo(from, to int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(m.f.Fd()), &st); err != nil {
		return err
	}
	if to > st.Size {
		return io.ErrUnexpectedEOF
	}
	page := int64(os.Getpagesize())
	if end := min(memory.AlignUp(to, page), int64(len(m.Data))); end > from {
		_ = unix.Madvise(m.Data[from/page*page:end], unix.MADV_DONTNEED)
	}
	return nil
}

// Close unmaps the file.
func (m *Mapping) Close() error {
	err := unix.Munmap(m.Data)
	if err != nil {
		err = fmt.Errorf("disk: unmap %s: %w", m.f.Name(), err)
	}
	return errors.Join(err, m.f.Close())
}
