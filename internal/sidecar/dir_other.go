//go:build !unix

package sidecar

import "os"

// writable reports whether files can be made in dir. Only making one tells.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".sparseflow-*"+tempSuffix)
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}
