//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Mapping is a File whose bytes are also there to be used where they lie, in a
// mapping of the whole file: which of them are in memory is left to the
// system's page cache. It is how programs run that map their weights, and a
// baseline for what a cache of neurons gains.
//
// Whoever touches Data where the file was cut short is ended by the system.
type Mapping struct {
	Data []byte // the whole file, read-only

	f *os.File
}

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

// Stat is the state of the open file.
func (m *Mapping) Stat() (fs.FileInfo, error) { return m.f.Stat() }

// Close unmaps the file.
func (m *Mapping) Close() error { return errors.Join(unix.Munmap(m.Data), m.f.Close()) }
