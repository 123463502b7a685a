package cpu

import (
	"sync/atomic"

	"github.com/sparseflow/sparseflow/internal/kernel"
)

// NewFine is New with work cut as finely as it can be, so that small operands
// reach every thread.
func NewFine(k kernel.Set, threads int) *Backend {
	b := New(k, threads)
	b.grain = 1
	return b
}

// Load reads mem on all threads and does nothing else: the limit that
// benchmarks compare with.
func (b *Backend) Load(mem []byte) {
	l := loading{k: &b.k, mem: mem}
	b.pool.run(&l, (len(mem)+grainBytes-1)/grainBytes, 1)
}

type loading struct {
	k   *kernel.Set
	mem []byte
	sum atomic.Uint64
}

func (l *loading) run(lo, hi, _ int) {
	l.sum.Add(l.k.Load(l.mem[lo*grainBytes : min(hi*grainBytes, len(l.mem))]))
}
