package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// File is how bytes come from the pack: the seam where tests inject faults
// and the other ways of reading plug in. Methods may be called from several
// goroutines.
type File interface {
	// ReadVec fills bufs, one after the other, with the bytes from off on.
	// Like io.ReaderAt it returns an error if it reads fewer bytes; the
	// error need not name the file, since the store does.
	// Where Align is above 1, off and every buffer's address and length
	// are multiples of it.
	ReadVec(bufs [][]byte, off int64) (int, error)
	// Align is what ReadVec's offsets, addresses and lengths are multiples
	// of.
	Align() int64
	// Stat is the state of the open file.
	Stat() (fs.FileInfo, error)
	Close() error
}

// OpenFile opens p's file for reading in the given way. Direct I/O is an
// AsyncFile where the kernel has io_uring. It falls back to buffered reads,
// whose pages are dropped from the page cache after use, where the file system
// refuses it or asks for more alignment than p has.
func OpenFile(p *pack.Pack, mode config.IOMode) (File, error) {
	if mode == config.IOMmap {
		return openMapped(p.Path())
	}
	if f, ok := openDirect(p.Path(), bundleAlign(p)); ok {
		return withRing(f), nil
	}
	return openBuffered(p.Path())
}

// bundleAlign is the largest power of two, up to a page, that every bundle's
// offset is a multiple of: the first one's offset is a multiple of a page.
func bundleAlign(p *pack.Pack) int64 {
	stride := p.BundleStride()
	return min(stride&-stride, memory.PageAlign)
}

// bufferedFile reads through the page cache.
type bufferedFile struct{ f *os.File }

func openBuffered(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	noReadahead(f)
	return &bufferedFile{f}, nil
}

func (b *bufferedFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	n, err := readVec(b.f, bufs, off, 1)
	dropCache(b.f, off, int64(n))
	return n, err
}

func (b *bufferedFile) Align() int64               { return 1 }
func (b *bufferedFile) Stat() (fs.FileInfo, error) { return b.f.Stat() }
func (b *bufferedFile) Close() error               { return b.f.Close() }

// fill is ReadVec by a read that may come short, as system calls may. A read
// that ends off a multiple of align met the end of the file, and none could go
// on from there.
func fill(bufs [][]byte, off, align int64, read func(bufs [][]byte, off int64) (int, error)) (int, error) {
	total := 0
	for bufs = advance(bufs, 0); len(bufs) > 0; {
		n, err := read(bufs, off+int64(total))
		total += n
		bufs = advance(bufs, n)
		switch {
		case len(bufs) == 0:
		case err != nil && !errors.Is(err, io.EOF):
			return total, err
		case n == 0 || int64(n)%align != 0:
			return total, io.ErrUnexpectedEOF
		}
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
