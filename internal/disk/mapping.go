package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/pack"
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

// Align is 1: a mapping can be read from anywhere.
func (m *Mapping) Align() int64 { return 1 }

// Stat is the state of the open file.
func (m *Mapping) Stat(int) (fs.FileInfo, error) { return m.f.Stat() }

// ReadVec copies out of the mapping, except to where the bytes are already:
// a buffer that is the very part of Data it asks for.
func (m *Mapping) ReadVec(bufs [][]byte, off int64) (n int, err error) {
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
	for _, b := range bufs {
		if off < 0 || off > int64(len(m.Data)) {
			return n, io.ErrUnexpectedEOF
		}
		from := m.Data[off:]
		if unsafe.SliceData(b) != unsafe.SliceData(from) {
			copy(b, from)
		}
		got := min(len(b), len(from))
		n, off = n+got, off+int64(got)
		if got < len(b) {
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}

// mappedFile lets go of the pages that it has copied, so that what was read no
// longer counts as this process's memory. It stays in the page cache for as long
// as the system likes.
type mappedFile struct {
	files
	mappings []*Mapping // of each
}

func openMapped(of []pack.File) (File, error) {
	var m mappedFile
	for _, f := range of {
		one, err := OpenMapping(f.Path)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.files = append(m.files, openFile{one.f, f.Start, f.Start + f.Bytes})
		m.mappings = append(m.mappings, one)
	}
	return m, nil
}

func (m mappedFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	i := m.at(off)
	off -= m.files[i].start
	n, err := m.mappings[i].ReadVec(bufs, off)
	if err == nil {
		err = m.mappings[i].letGo(off, off+int64(n))
	}
	return n, err
}

// Align is 1.
func (m mappedFile) Align() int64 { return 1 }

// Close unmaps and closes all.
func (m mappedFile) Close() error {
	var errs []error
	for _, one := range m.mappings {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
