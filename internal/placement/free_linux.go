package placement

import (
	"bufio"
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
	mem, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return free
	}
	for line := range strings.Lines(string(mem)) {
		// hierarchy:controllers:path; see cgroups(7).
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			free = limited(root, free, []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}, f[2], "memory.max", "memory.current", "inactive_file")
		case strings.Contains(","+f[1]+",", ",memory,"):
			free = limited(root, free, []string{"sys/fs/cgroup/memory"}, f[2], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
		}
	}
	return free
}

// unlimited is below what version 1 shows where there is no limit: the largest
// int64, in whole pages.
const unlimited = 1 << 60

// limited lowers free to what the groups from dir up to the mount leave.
func limited(root fs.FS, free int64, mounts []string, dir, limitFile, usageFile, reclaimable string) int64 {
	for _, mount := range mounts {
		for d := path.Clean("/" + dir); ; d = path.Dir(d) {
			at := path.Join(mount, d)
			limit, ok1 := number(root, path.Join(at, limitFile))
			usage, ok2 := number(root, path.Join(at, usageFile))
			if ok1 && ok2 && limit < unlimited {
				stat, _ := fs.ReadFile(root, path.Join(at, "memory.stat"))
				left := limit - usage + field(stat, reclaimable)
				if free == 0 || left < free {
					free = max(left, 1)
				}
			}
			if d == "/" {
				break
			}
		}
	}
	return free
}

func availableBytes(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	return field(b, "MemAvailable:") << 10
}

// number reads a file that holds one number; "max" is none.
func number(root fs.FS, name string) (int64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// field is the number that follows key at the start of a line, or 0.
func field(b []byte, key string) int64 {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}
