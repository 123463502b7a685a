//go:build !linux

package placement

import "io/fs"

// FreeBytes is the memory that this process can still take, 0 where the
// system does not say.
func FreeBytes(fs.FS) int64 { return 0 }

// Processors is the number of compute threads that can run at the same time.
func Processors(_ fs.FS, processors int) int { return processors }
