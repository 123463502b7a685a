//go:build unix

package kernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// newArena returns an arena between two pages that fault when touched.
func newArena(t testing.TB, size int) *arena {
	page := unix.Getpagesize()
	size = (size + page - 1) &^ (page - 1)
	mem, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("kernel: map guarded arena: %v", err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	for _, guard := range [][]byte{mem[:page], mem[page+size:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatalf("kernel: protect guard page: %v", err)
		}
	}
	return &arena{mem[page : page+size]}
}
