//go:build !unix || solaris || aix

package filelock

import (
	"errors"
	"fmt"
	"os"
)

// Try reports that this system has no such locks.
func Try(f *os.File) (bool, error) {
	return false, fmt.Errorf("filelock: lock %s: %w", f.Name(), errors.ErrUnsupported)
}
