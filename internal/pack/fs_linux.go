package pack

import (
	"errors"
	"fmt"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// directAlign is the alignment that f's file system asks of direct reads, from
// 512 to 4096; 512 where it does not say. (statx(2), STATX_DIOALIGN, Linux 6.1.)
func directAlign(f *os.File) int64 {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return sectorBytes
	}
	a := int64(st.Dio_offset_align)
	if bits.OnesCount64(uint64(a)) != 1 {
		return sectorBytes
	}
	return min(max(a, sectorBytes), pageBytes)
}

// reserve makes f n bytes long and, where the file system can, sets the space
// aside, so that a full disk shows before the work and the file lies in few
// pieces.
func reserve(f *os.File, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, n)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
			return fmt.Errorf("got %w, want %d bytes of free space", err, n)
		default: // not here
			return f.Truncate(n)
		}
	}
}

// startWriteback asks the kernel to begin writing n bytes from offset on to the
// disk, so that the sync at the end has little left to do. It is a hint.
func startWriteback(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
