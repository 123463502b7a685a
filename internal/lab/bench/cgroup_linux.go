package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// cgroup is a memory cgroup of our own.
type cgroup struct{ dir string }

// newCgroup makes a memory cgroup with a limit in bytes, of either version of
// cgroups. It takes root, or a hierarchy that was handed over to the user.
func newCgroup(limit int64) (*cgroup, error) {
	root, files := "/sys/fs/cgroup", map[string]string{"memory.max": strconv.FormatInt(limit, 10), "memory.swap.max": "0"}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		root, files = "/sys/fs/cgroup/memory", map[string]string{"memory.limit_in_bytes": strconv.FormatInt(limit, 10)}
	}
	g := &cgroup{filepath.Join(root, fmt.Sprintf("sparseflow-bench-%d", os.Getpid()))}
	err := os.Mkdir(g.dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("needs a memory cgroup: %w", err)
	}
	for name, value := range files {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o600); err != nil && name != "memory.swap.max" {
			return nil, errors.Join(fmt.Errorf("needs a memory cgroup: %w", err), g.remove())
		}
	}
	return g, nil
}

// remove removes the group, whose processes have ended.
func (g *cgroup) remove() error { return os.Remove(g.dir) }
