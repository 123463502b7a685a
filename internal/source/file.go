package source

import (
	"fmt"
	"os"
	"strings"
)

// hashDigits is the length of a checkpoint's hash, a SHA-256 in hexadecimal.
const hashDigits = 64

// CheckHash reports what cannot be the hash of a checkpoint.
func CheckHash(s string) error {
	if len(s) != hashDigits || strings.Trim(s, "0123456789abcdef") != "" {
		return fmt.Errorf("got source hash %.80q, want %d lower-case hexadecimal digits", s, hashDigits)
	}
	return nil
}

// OpenRegular opens the regular file at path and tells its size.
func OpenRegular(path string) (f *os.File, size int64, err error) {
	// Looked at first: opening a named pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("open: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("open %s: got %v, want a regular file", path, info.Mode().Type())
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, fmt.Errorf("open: %w", err)
	}
	// Asked again: since then a writer may have put another file in its place.
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open: %w", err)
	}
	return f, info.Size(), nil
}
