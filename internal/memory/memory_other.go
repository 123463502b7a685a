//go:build !linux

package memory

func adviseHuge([]byte) {}

func populate([]byte) bool { return false }

func yieldToOthers() {}

func lock([]byte, int64) {}
