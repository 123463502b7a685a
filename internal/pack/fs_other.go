//go:build !linux

package pack

import "os"

// directAlign is 512: this system does not say what direct reads need.
func directAlign(*os.File) int64 { return sectorBytes }

// reserve makes f n bytes long.
func reserve(f *os.File, n int64) error { return f.Truncate(n) }

// startWriteback does nothing here.
func startWriteback(*os.File, int64, int64) {}

// newOutput is f itself.
func newOutput(f *os.File) output { return f }
