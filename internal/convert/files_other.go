//go:build !linux

package convert

import (
	"io/fs"
	"time"
)

// freeBytes does not know on this system; creating the pack will tell.
func freeBytes(string) (n int64, ok bool) { return 0, false }

// identity does not know on this system.
func identity(fs.FileInfo) (inode uint64, changed time.Time) { return 0, time.Time{} }
