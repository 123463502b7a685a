package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// files are the open files of a pack, whose bytes count on from one to the next:
// see pack.File.
type files []openFile

type openFile struct {
	*os.File
	start, end int64 // of its bytes, among those of all files
}

// openFiles opens all by a flag of os.OpenFile.
func openFiles(of []pack.File, flag int) (all files, err error) {
	for _, x := range of {
		f, err := os.OpenFile(x.Path, os.O_RDONLY|flag, 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("disk: open: %w", err), all.Close())
		}
		all = append(all, openFile{f, x.Start, x.Start + x.Bytes})
	}
	return all, nil
}

// at is the index of the file that has the byte at off, the last where none has.
func (o files) at(off int64) int {
	i := len(o) - 1
	for i > 0 && off < o[i].start {
		i--
	}
	return i
}

// padded is what a request for want bytes at off has brought with n: also what lies
// between the end of the file and the next multiple of align.
func (f *openFile) padded(off int64, n int, want, align int64) int {
	if n > 0 && off+int64(n) == f.end {
		return int(min(want, memory.AlignUp(int64(n), align)))
	}
	return n
}

// Stat is the state of one.
func (o files) Stat(file int) (fs.FileInfo, error) { return o[file].File.Stat() }

// Close closes all.
func (o files) Close() error {
	var errs []error
	for _, f := range o {
		errs = append(errs, f.File.Close())
	}
	return errors.Join(errs...)
}
