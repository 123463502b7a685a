package disk

import (
	"fmt"
	"io"
	"os"
	"unsafe"
)

// Align is 1: a mapping can be read from anywhere.
func (m *Mapping) Align() int64 { return 1 }

// ReadVec copies out of the mapping, except to where the bytes are already:
// a buffer that is the very part of Data it asks for.
func (m *Mapping) ReadVec(bufs [][]byte, off int64) (n int, err error) {
	for _, b := range bufs {
		if off < 0 || off+int64(len(b)) > int64(len(m.Data)) {
			return n, io.ErrUnexpectedEOF
		}
		if from := m.Data[off:]; unsafe.SliceData(b) != unsafe.SliceData(from) {
			copy(b, from)
		}
		n, off = n+len(b), off+int64(len(b))
	}
	return n, nil
}

// DropCache takes the file at path out of the page cache, as far as nobody
// maps it and the system lets itself be told.
func DropCache(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("disk: drop cache: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("disk: drop cache: %w", err)
	}
	dropCache(f, 0, st.Size())
	return nil
}
