// Package filelock tells whether a file is in use by a living process: an
// advisory lock that the kernel drops when its holder ends, however it ends.
//
// Locks are of the BSD kind (flock): they belong to the open file, so two
// opens of one process exclude each other too, and closing the file releases
// it. Where the system or the file system has none, or fails at it, Try says
// so (errors.ErrUnsupported). A lock is a convenience: callers do without.
package filelock
