//go:build !linux

package weights

func adviseHuge([]byte) {}

func populate([]byte) bool { return false }
