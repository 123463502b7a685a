//go:build unix

package memory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory is n zero bytes from the system, page aligned. They count as
// resident only once touched.
func mapMemory(n int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("weights: map memory: got %w for %d bytes", err, n)
	}
	adviseHuge(b)
	return b, nil
}

func unmapMemory(b []byte) error { return unix.Munmap(b) }
