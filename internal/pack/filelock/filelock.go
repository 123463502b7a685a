// Package filelock tells whether a file is in use by a living process: an
// advisory lock that the kernel drops when its holder ends, however it ends.
//
// Locks are of the BSD kind (flock): they belong to the open file, so two
// opens of one process exclude each other too, and closing the file releases
// it. Where the system or the file system has none, or fails at it, Try says
// so (errors.ErrUnsupported). A lock is a convenience: callers do without.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Acquire opens the file at path, which is made if need be, and waits until it
// has the lock of it while path is still its name: whoever removes or renames
// the file before closing it never lets two in. waiting, if not nil, is called
// once if somebody else has the lock.
func Acquire(ctx context.Context, path string, poll time.Duration, waiting func()) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		held, err := Try(f)
		if err != nil {
			os.Remove(path)
			return nil, errors.Join(err, f.Close())
		}
		if held {
			same, err := LeadsTo(path, f)
			if same {
				return f, nil
			}
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
		f.Close()
		if !held && waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock of %s: %w", path, ctx.Err())
		}
	}
}

// LeadsTo reports whether path is still the name of f. A link there is refused:
// what it points to is not ours.
func LeadsTo(path string, f *os.File) (bool, error) {
	at, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !at.Mode().IsRegular() {
		return false, fmt.Errorf("got %v at %s, want a regular file or none; remove it", at.Mode().Type(), path)
	}
	opened, err := f.Stat()
	return err == nil && os.SameFile(at, opened), err
}
