package cpu

import (
	"sync/atomic"

	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Load reads parts from memory and does nothing with them, on all threads: the
// speed that no operation over the same bytes can exceed. It returns the sum
// of all parts (see kernel.Set.Load), which does not depend on the threads.
func (b *Backend) Load(parts [][]byte) uint64 {
	if len(parts) == 0 {
		return 0
	}
	l := &load{k: &b.k, parts: parts}
	b.pool.run(l, len(parts), b.units(int64(len(parts[0]))))
	return l.sum.Load()
}

type load struct {
	k     *kernel.Set
	parts [][]byte
	sum   atomic.Uint64
}

func (l *load) run(lo, hi, _ int) {
	sum := uint64(0)
	for _, p := range l.parts[lo:hi] {
		sum += l.k.Load(p)
	}
	l.sum.Add(sum)
}
