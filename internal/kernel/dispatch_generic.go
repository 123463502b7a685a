//go:build !amd64 || noasm

package kernel

// All returns every set that this machine can run: Go alone.
func All() []Set { return []Set{Go()} }
