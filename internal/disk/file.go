package disk

import (
	"errors"
	"io"
	"io/fs"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// File is how bytes come from a pack's files, which count as one: the seam where
// tests inject faults and the other ways of reading plug in. Methods may be called
// from several goroutines.
type File interface {
	// ReadVec fills bufs, one after the other, with the bytes from off on.
	// Like io.ReaderAt it returns an error if it reads fewer bytes; the
	// error need not name the file, since the store does.
	// Where Align is above 1, off and every buffer's address and length
	// are multiples of it; what lies beyond a file's end up to the next
	// multiple counts as read, and is anything.
	ReadVec(bufs [][]byte, off int64) (int, error)
	// Align is what ReadVec's offsets, addresses and lengths are multiples
	// of.
	Align() int64
	// Stat is the state of one of the open files, as pack.Pack counts them.
	Stat(file int) (fs.FileInfo, error)
	Close() error
}

// OpenFile opens p's files for reading in the given way. Direct I/O is an
// AsyncFile where the kernel has io_uring. It falls back to buffered reads,
// whose pages are dropped from the page cache after use, where the file system
// refuses it or asks for more alignment than p has.
func OpenFile(p *pack.Pack, mode config.IOMode) (File, error) {
	if mode == config.IOMmap {
		return openMapped(p.Files())
	}
	if f, ok := openDirect(p.Files(), bundleAlign(p)); ok {
		return withRing(f), nil
	}
	return openBuffered(p.Files())
}

// bundleAlign is the largest power of two, up to a page, that every bundle's
// offset is a multiple of: the first one's offset is a multiple of a page. Blocks
// of rows are rounded out to it.
func bundleAlign(p *pack.Pack) int64 {
	if p.Bundles() == 0 {
		return memory.PageAlign
	}
	stride := p.BundleStride()
	return min(stride&-stride, memory.PageAlign)
}

// bufferedFile reads through the page cache.
type bufferedFile struct{ files }

func openBuffered(of []pack.File) (File, error) {
	all, err := openFiles(of, 0)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		noReadahead(f.File)
	}
	return &bufferedFile{all}, nil
}

func (b *bufferedFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	f := &b.files[b.at(off)]
	n, err := readVec(f.File, bufs, off-f.start, 1)
	dropCache(f.File, off-f.start, int64(n))
	return n, err
}

func (b *bufferedFile) Align() int64 { return 1 }

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
