//go:build !linux

package convert

// freeBytes does not know on this system; creating the pack will tell.
func freeBytes(string) (n int64, ok bool) { return 0, false }
