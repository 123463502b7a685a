package disk

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The budget does not cover the page cache, so buffered reads leave nothing
// there, neither of the pages they share with neighbours nor read ahead.
func TestBufferedLeavesNoPages(t *testing.T) {
	f := makePack(t, 512)
	file, err := openBuffered(f.Files())
	if err != nil {
		t.Fatal(err)
	}
	s := f.store(t, file)
	raw := file.(*bufferedFile).files[0].File
	dropCache(raw, 0, f.Size())
	if n := cachedPages(t, raw, f.Size()); n > 0 {
		t.Skipf("%d pages stay in the page cache whatever is advised: is %s a tmpfs?", n, f.Path())
	}
	dst := [][]byte{make([]byte, f.BundleStride())}
	for neuron := range 20 { // one after the other, which invites reading ahead
		if err := s.ReadBundles(1, neuron, dst); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ReadRow(f.matrices()[0], 17, f.buffer(t)); err != nil {
		t.Fatal(err)
	}
	if n := cachedPages(t, raw, f.Size()); n > 0 {
		t.Errorf("got %d pages in the page cache, want none", n)
	}
}

func cachedPages(t *testing.T, f *os.File, size int64) (n int) {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, len(m)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), uintptr(unsafe.Pointer(unsafe.SliceData(pages)))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}
