//go:build unix

package sidecar

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writable reports whether files can be made in dir, without making one.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }

// syncDir makes a rename in dir durable. File systems that cannot sync
// directories do without.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
