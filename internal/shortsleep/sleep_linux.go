package shortsleep

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// For sleeps for d, or less where a signal comes.
func For(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
