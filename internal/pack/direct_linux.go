package pack

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directOutput writes large parts past the page cache: copying them there and
// having the kernel write them back later takes several times as long. Other
// parts go through the cache, as all do once the file system refuses one; the
// kernel keeps both ways of writing a file coherent.
type directOutput struct {
	*os.File
	direct  *os.File
	align   int64
	refused atomic.Bool
}

// directBytes is the least that is written past the cache.
const directBytes = 64 << 10

// newOutput is how f is written best. Closing it closes f.
func newOutput(f *os.File) output {
	d, err := os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return f
	}
	return &directOutput{File: f, direct: d, align: directAlign(f)}
}

func (o *directOutput) Close() error { return errors.Join(o.direct.Close(), o.File.Close()) }

func (o *directOutput) WriteAt(p []byte, off int64) (int, error) {
	at := int64(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	if len(p) < directBytes || (at|off|int64(len(p)))%o.align != 0 || o.refused.Load() {
		return o.File.WriteAt(p, off)
	}
	n, err := o.direct.WriteAt(p, off)
	if err != nil && !errors.Is(err, unix.ENOSPC) {
		o.refused.Store(true)
		return o.File.WriteAt(p, off)
	}
	return n, err
}
