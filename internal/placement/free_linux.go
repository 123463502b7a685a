package placement

import (
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// FreeBytes is the memory that this process can still take: what the system
// has available or, if less, what the limits of the memory cgroups around it
// leave. root is the system's root directory. 0 means that nobody knows.
func FreeBytes(root fs.FS) int64 {
	free := availableBytes(root)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return free
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; see cgroups(7).
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			v2 := hierarchy{"memory.max", "memory.current", "inactive_file"}
			free = v2.limit(root, "sys/fs/cgroup", f[2], free)
			free = v2.limit(root, "sys/fs/cgroup/unified", f[2], free)
		case strings.Contains(","+f[1]+",", ",memory,"):
			v1 := hierarchy{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
			free = v1.limit(root, "sys/fs/cgroup/memory", f[2], free)
		}
	}
	return free
}

// hierarchy is how a version of cgroups names a group's files, and the line of
// its memory.stat that says how much of the usage can be reclaimed at once.
type hierarchy struct{ max, usage, reclaimable string }

// unlimited is below what version 1 shows where there is no limit: the largest
// int64, in whole pages.
const unlimited = 1 << 60

// limit lowers free to what the groups from dir up to the mount leave. Inside
// a container dir may be a path that only the host sees; then the mount, which
// is the container's own group, is all that counts.
func (h hierarchy) limit(root fs.FS, mount, dir string, free int64) int64 {
	for d := path.Clean("/" + dir); ; d = path.Dir(d) {
		at := path.Join(mount, d)
		most, ok1 := number(root, path.Join(at, h.max))
		usage, ok2 := number(root, path.Join(at, h.usage))
		if ok1 && ok2 && most < unlimited {
			stat, _ := fs.ReadFile(root, path.Join(at, "memory.stat"))
			left := most - usage + field(stat, h.reclaimable)
			if free == 0 || left < free {
				free = max(left, 1)
			}
		}
		if d == "/" {
			return free
		}
	}
}

func availableBytes(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	return min(field(b, "MemAvailable:"), unlimited>>10) << 10
}

// number reads a file that holds one number; "max" is none.
func number(root fs.FS, name string) (int64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	return parse(strings.TrimSpace(string(b)))
}

// field is the number that follows key at the start of a line, or 0.
func field(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) >= 2 && f[0] == key {
			n, _ := parse(f[1])
			return n
		}
	}
	return 0
}

func parse(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return n, true
}
