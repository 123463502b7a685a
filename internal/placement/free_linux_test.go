package placement

import (
	"testing"
	"testing/fstest"
)

// system is files of a system by path; those not given are not there.
func system(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestFreeBytes(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\n"
	const v1 = "12:cpuset:/\n9:cpu,cpuacct:/a\n5:memory:/docker/abc\n1:name=systemd:/a\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"no limits", map[string]string{"proc/meminfo": meminfo}, 700 << 10},
		{"an old system's meminfo", map[string]string{"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\n"}, 0},
		{"no number", map[string]string{"proc/meminfo": "MemAvailable: much kB\n"}, 0},
		{"more than can be", map[string]string{"proc/meminfo": "MemAvailable: 9223372036854775807 kB\n"}, 1 << 60},
		{"v2, no limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user/app\n",
			"sys/fs/cgroup/user/app/memory.max": "max\n", "sys/fs/cgroup/user/app/memory.current": "5000\n",
		}, 700 << 10},
		{"v2, a limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user/app\n",
			"sys/fs/cgroup/user/app/memory.max": "50000\n", "sys/fs/cgroup/user/app/memory.current": "20000\n",
		}, 30000},
		{"v2, a limit above what is available", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user/app\n",
			"sys/fs/cgroup/user/app/memory.max": "5000000\n", "sys/fs/cgroup/user/app/memory.current": "20000\n",
		}, 700 << 10},
		{"v2, reclaimable pages", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "50000\n", "sys/fs/cgroup/memory.current": "20000\n",
			"sys/fs/cgroup/memory.stat": "anon 7\nfile 9000\ninactive_file 8000\nactive_file 1000\nslab_reclaimable 500\n",
		}, 39500},
		{"v2, a limit that slows down before the one that ends", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "50000\n", "sys/fs/cgroup/memory.high": "30000\n", "sys/fs/cgroup/memory.current": "20000\n",
		}, 10000},
		{"v2, more reclaimable than used", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "50000\n", "sys/fs/cgroup/memory.current": "20000\n",
			"sys/fs/cgroup/memory.stat": "inactive_file 9223372036854775807\nactive_file 9223372036854775807\n",
		}, 50000},
		{"v2, the tightest of nested limits", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b/c\n",
			"sys/fs/cgroup/a/b/c/memory.max": "100000\n", "sys/fs/cgroup/a/b/c/memory.current": "10\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "40000\n",
			"sys/fs/cgroup/a/memory.max": "60000\n", "sys/fs/cgroup/a/memory.current": "45000\n",
		}, 15000},
		{"v2, over the limit", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "50000\n", "sys/fs/cgroup/memory.current": "60000\n",
		}, 1},
		{"v2, a path outside the container", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../host/slice\n",
			"sys/fs/cgroup/memory.max": "50000\n", "sys/fs/cgroup/memory.current": "20000\n",
			"sys/host/slice/memory.max": "100\n", "sys/host/slice/memory.current": "20\n",
		}, 30000},
		{"v2 beside v1", map[string]string{
			"proc/self/cgroup":                       "1:name=systemd:/x\n0::/x\n",
			"sys/fs/cgroup/unified/x/memory.max":     "900\n",
			"sys/fs/cgroup/unified/x/memory.current": "100\n",
		}, 800},
		{"v1, a limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "50000\n",
			"sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "20000\n",
			"sys/fs/cgroup/memory/docker/abc/memory.stat":           "inactive_file 5\ntotal_inactive_file 4000\ntotal_active_file 3000\n",
		}, 37000},
		{"v1, in a container that sees its own group as the root", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "50000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "20000\n",
		}, 30000},
		{"v1, no limit, and nothing else known", map[string]string{
			"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "20000\n",
		}, 0},
		{"v1 of another controller", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:memoryless:/\nnonsense\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "50000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "20000\n",
		}, 700 << 10},
		{"a limit without a usage", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "50000\n",
		}, 700 << 10},
	} {
		if got := FreeBytes(system(c.files)); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestProcessors(t *testing.T) {
	const v1 = "9:cpu,cpuacct:/a/b\n1:name=systemd:/a\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int
	}{
		{"nothing known", nil, 8},
		{"v2, no quota", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 8},
		{"v2, a quota", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3},
		{"v2, part of a processor over", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "290000 100000\n"}, 2},
		{"v2, less than one processor", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "25000 100000\n"}, 1},
		{"v2, more than there are", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "6400000 100000\n"}, 8},
		{"v2, the tightest of nested quotas", map[string]string{
			"proc/self/cgroup":          "0::/a/b\n",
			"sys/fs/cgroup/a/cpu.max":   "200000 100000\n",
			"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
		}, 2},
		{"v2, a path outside the container", map[string]string{"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2},
		{"v2, no period", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000\n"}, 8},
		{"v1, a quota", map[string]string{
			"proc/self/cgroup":                        v1,
			"sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us":  "350000\n",
			"sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
		}, 3},
		{"v1, of a group above, at a mount with two names", map[string]string{
			"proc/self/cgroup":                              v1,
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":    "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":   "50000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
		}, 2},
	} {
		if got := Processors(system(c.files), 8); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// Whatever the system says, the answer is a size.
func FuzzFreeBytes(f *testing.F) {
	f.Add("MemAvailable: 700 kB", "0::/a/../b", "5000", "20", "inactive_file 7")
	f.Add("MemAvailable: -7 kB", "3:memory,cpu:/", "max", "9223372036854775807", "inactive_file 9223372036854775807")
	f.Add("MemAvailable:", "0:::::", "-1", "-9223372036854775808", "\x00")
	f.Fuzz(func(t *testing.T, meminfo, cgroup, most, usage, stat string) {
		root := system(map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": cgroup,
			"sys/fs/cgroup/memory.max": most, "sys/fs/cgroup/memory.current": usage, "sys/fs/cgroup/memory.stat": stat,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": most, "sys/fs/cgroup/memory/memory.usage_in_bytes": usage,
			"sys/fs/cgroup/cpu.max": most + " " + usage,
		})
		if got := FreeBytes(root); got < 0 {
			t.Errorf("got %d bytes, want 0 or more", got)
		}
		if got := Processors(root, 4); got < 1 || got > 4 {
			t.Errorf("got %d processors, want 1 to 4", got)
		}
	})
}
