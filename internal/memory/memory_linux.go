package memory

import (
	"os"

	"golang.org/x/sys/unix"
)

// hugePage is the size from which a mapping can have huge pages.
const hugePage = 2 << 20

// adviseHuge asks for huge pages, which save a tenth of the time of walking
// weights. A kernel without them ignores it.
func adviseHuge(b []byte) {
	if len(b) >= hugePage {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}

// populate gives b, which starts on a page, its pages. What is written there
// already stays. It reports false where the kernel is older than 5.14 or has no
// memory: then the first write finds out.
func populate(b []byte) bool { return unix.Madvise(b, unix.MADV_POPULATE_WRITE) == nil }

// yieldToOthers gives the thread the lowest priority.
func yieldToOthers() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19) }

// lock locks b, which starts on a page, if the limit is not below most or there is none
// for the superuser. What is locked counts against a limit that a ring of reads may
// need, too.
func lock(b []byte, most int64) {
	var limit unix.Rlimit
	if os.Geteuid() == 0 || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur >= uint64(most) {
		_ = unix.Mlock(b)
	}
}
