//go:build !unix

package pack

// SyncDir does nothing: here directories cannot be opened to be synced.
func SyncDir(string) error { return nil }
