package placement

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// FreeBytes is the memory that this process can still take: what the system
// has available or, if less, what the limits of the memory cgroups around it
// leave. root is the system's root directory. 0 means that nobody knows.
func FreeBytes(root fs.FS) int64 {
	free := availableBytes(root)
	for _, g := range groups(root, "memory") {
		for _, most := range g.limits(root) {
			held, ok := g.heldBytes(root)
			if left := max(most-held, 1); ok && (free == 0 || left < free) {
				free = left
			}
		}
	}
	return free
}

// Processors is the number of compute threads that can run at the same time:
// of the given processors, as many whole ones as the processor quotas of the
// cgroups around this process allow. Threads that wait for each other lose
// more when a quota stops them than one thread fewer costs, so the share of a
// processor that is left over is not used.
func Processors(root fs.FS, processors int) int {
	for _, g := range groups(root, "cpu") {
		if whole, ok := g.quota(root); ok {
			processors = min(processors, whole)
		}
	}
	return max(processors, 1)
}

// group is a control group's directory, and whether it is of version 1.
type group struct {
	dir string
	v1  bool
}

// groups are the groups of a controller that hold this process, from its own
// up to the mount. Inside a container the path of its own may be one that only
// the host sees; then the mount, which is the container's own group, is all
// that has files. See cgroups(7).
func groups(root fs.FS, controller string) (all []group) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(f) != 3 {
			continue
		}
		v1 := slices.Contains(strings.Split(f[1], ","), controller)
		mounts := []string{controller, f[1]} // one of them may be a link to the other
		if f[0] == "0" && f[1] == "" {
			mounts = []string{"", "unified"}
		} else if !v1 {
			continue
		}
		for _, mount := range mounts {
			for d := path.Clean("/" + f[2]); ; d = path.Dir(d) {
				all = append(all, group{path.Join("sys/fs/cgroup", mount, d), v1})
				if d == "/" {
					break
				}
			}
		}
	}
	return all
}

// unlimited is below what version 1 shows where there is no limit: the largest
// int64, in whole pages.
const unlimited = 1 << 60

// limits are the group's limits of memory, in bytes: that above which the
// system ends processes, and that above which it slows them down.
func (g group) limits(root fs.FS) (all []int64) {
	for _, name := range g.names("memory.limit_in_bytes", "memory.max", "memory.high") {
		if n, ok := number(root, path.Join(g.dir, name)); ok && n < unlimited {
			all = append(all, n)
		}
	}
	return all
}

// heldBytes is the memory of the group that the system cannot take back: page
// cache and other caches count as usage until somebody needs the room.
func (g group) heldBytes(root fs.FS) (held int64, ok bool) {
	usage, ok := number(root, path.Join(g.dir, g.names("memory.usage_in_bytes", "memory.current")[0]))
	if !ok {
		return 0, false
	}
	stat, _ := fs.ReadFile(root, path.Join(g.dir, "memory.stat"))
	for _, key := range []string{"inactive_file", "active_file", "slab_reclaimable"} {
		if g.v1 {
			key = "total_" + key // with the groups below it, as the usage is
		}
		usage -= min(field(stat, key), unlimited)
	}
	return max(usage, 0), true
}

// quota is how many whole processors the group may use, if there is a limit.
func (g group) quota(root fs.FS) (whole int, ok bool) {
	if g.v1 {
		quota, ok1 := number(root, path.Join(g.dir, "cpu.cfs_quota_us")) // -1: none
		period, ok2 := number(root, path.Join(g.dir, "cpu.cfs_period_us"))
		return int(quota / max(period, 1)), ok1 && ok2
	}
	text, _ := fs.ReadFile(root, path.Join(g.dir, "cpu.max"))
	f := strings.Fields(string(text)) // quota or "max", period
	if len(f) != 2 {
		return 0, false
	}
	quota, ok1 := parse(f[0])
	period, ok2 := parse(f[1])
	return int(quota / max(period, 1)), ok1 && ok2
}

// names are the names of a file in the version of the group.
func (g group) names(v1 string, v2 ...string) []string {
	if g.v1 {
		return []string{v1}
	}
	return v2
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
