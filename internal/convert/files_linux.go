package convert

import (
	"math"

	"golang.org/x/sys/unix"
)

// freeBytes is the space that is left in dir's file system for this user; ok is
// false if it is not known.
func freeBytes(dir string) (n int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return freeOf(st)
}

// freeOf reads what statfs said. A file system of no blocks at all does not
// count them: ramfs, and some in user space.
func freeOf(st unix.Statfs_t) (n int64, ok bool) {
	unit := int64(st.Frsize)
	if unit <= 0 {
		unit = int64(st.Bsize) // before Linux 2.6
	}
	if st.Blocks == 0 || unit <= 0 || st.Bavail > math.MaxInt64/uint64(unit) {
		return 0, false
	}
	return int64(st.Bavail) * unit, true
}
