package convert

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// A file system that counts no blocks is not a full one, and blocks are counted
// in fragments, which need not be what reads are best made in.
func TestFreeOf(t *testing.T) {
	for _, c := range []struct {
		name string
		st   unix.Statfs_t
		free int64
		ok   bool
	}{
		{"ext4", unix.Statfs_t{Blocks: 100, Bavail: 10, Bsize: 4096, Frsize: 4096}, 40960, true},
		{"full", unix.Statfs_t{Blocks: 100, Bavail: 0, Bsize: 4096, Frsize: 4096}, 0, true},
		{"ramfs", unix.Statfs_t{Bsize: 4096, Frsize: 4096}, 0, false},
		{"fuse that answers zeros", unix.Statfs_t{Bsize: 512, Frsize: 512}, 0, false},
		{"no sizes at all", unix.Statfs_t{Blocks: 100, Bavail: 10}, 0, false},
		{"fragments", unix.Statfs_t{Blocks: 100, Bavail: 10, Bsize: 1 << 20, Frsize: 4096}, 40960, true},
		{"no fragment size", unix.Statfs_t{Blocks: 100, Bavail: 10, Bsize: 512}, 5120, true},
		{"without bound", unix.Statfs_t{Blocks: math.MaxUint64, Bavail: math.MaxUint64, Bsize: 4096, Frsize: 4096}, 0, false},
	} {
		if free, ok := freeOf(c.st); free != c.free || ok != c.ok {
			t.Errorf("%s: got %d, %v, want %d, %v", c.name, free, ok, c.free, c.ok)
		}
	}
}
