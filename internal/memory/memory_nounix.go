//go:build !unix

package memory

// mapMemory is n zero bytes; without mmap they come from the Go heap, whose
// large blocks start at page boundaries.
func mapMemory(n int64) ([]byte, error) { return make([]byte, n), nil }

func unmapMemory([]byte) error { return nil }
