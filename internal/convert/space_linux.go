package convert

import "golang.org/x/sys/unix"

// FreeBytes is the space that is left in dir's file system for this user; ok is
// false if it is not known.
func FreeBytes(dir string) (n int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Bsize <= 0 {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
