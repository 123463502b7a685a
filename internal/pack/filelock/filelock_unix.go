//go:build unix && !solaris && !aix

package filelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Try takes the exclusive lock of f without waiting and reports whether it
// got it. False without an error: somebody else holds it. Every error is an
// errors.ErrUnsupported.
func Try(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			// Network and FUSE file systems answer with about any number.
			return false, fmt.Errorf("filelock: lock %s: %w: %w", f.Name(), errors.ErrUnsupported, err)
		}
	}
}
