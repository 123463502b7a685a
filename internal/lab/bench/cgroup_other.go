//go:build !linux

package bench

import "errors"

// cgroup is a limit on memory, which this system does not have.
type cgroup struct{ dir string }

func newCgroup(int64) (*cgroup, error) {
	return nil, errors.New("needs a memory cgroup, which only Linux has")
}

func (*cgroup) remove() error { return nil }
