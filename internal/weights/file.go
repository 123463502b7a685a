package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sparseflow/sparseflow/internal/config"
)

// File is how bytes come from the pack: the seam where tests inject faults
// and the other ways of reading plug in. Methods may be called from several
// goroutines.
type File interface {
	// ReadVec fills bufs, one after the other, with the bytes from off on.
	// Like io.ReaderAt it returns an error if it reads fewer bytes.
	// Where Align is above 1, off and every buffer's address and length
	// are multiples of it, but the file may end within the last buffer.
	ReadVec(bufs [][]byte, off int64) (int, error)
	// Align is what ReadVec's offsets, addresses and lengths are multiples
	// of.
	Align() int64
	// Stat is the state of the open file.
	Stat() (fs.FileInfo, error)
	Close() error
}

// OpenFile opens path for reading in the given way. Direct I/O falls back to
// buffered reads, whose pages are dropped from the page cache after use,
// where the file system refuses it.
func OpenFile(path string, mode config.IOMode) (File, error) {
	if mode == config.IOMmap {
		return openMapped(path)
	}
	if f, ok := openDirect(path); ok {
		return f, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: open: %w", err)
	}
	return &bufferedFile{f}, nil
}

// bufferedFile reads through the page cache.
type bufferedFile struct{ f *os.File }

func (b *bufferedFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	n, err := readVec(b.f, bufs, off)
	dropCache(b.f, off, int64(n))
	return n, err
}

func (b *bufferedFile) Align() int64               { return 1 }
func (b *bufferedFile) Stat() (fs.FileInfo, error) { return b.f.Stat() }
func (b *bufferedFile) Close() error               { return b.f.Close() }

// eachBuf is ReadVec for readers of one buffer at a time.
func eachBuf(bufs [][]byte, off int64, read func(p []byte, off int64) (int, error)) (int, error) {
	total := 0
	for _, p := range bufs {
		n, err := read(p, off)
		total += n
		if err != nil && !(errors.Is(err, io.EOF) && n == len(p)) {
			return total, err
		}
		off += int64(n)
	}
	return total, nil
}
