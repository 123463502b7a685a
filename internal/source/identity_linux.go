package source

import (
	"io/fs"
	"syscall"
	"time"
)

// Identity tells files of one name apart: a number of the file, and when any of
// it, its times included, was last changed.
func Identity(info fs.FileInfo) (inode uint64, changed time.Time) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, time.Time{}
	}
	return st.Ino, time.Unix(st.Ctim.Unix()).UTC()
}
