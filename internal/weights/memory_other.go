//go:build !linux

package weights

func adviseHuge([]byte) {}

// Populate has the system supply the pages of b ahead of their use, where it can.
func Populate([]byte) {}
