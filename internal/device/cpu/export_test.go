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

// LoadRows reads the rows of n bytes at the given offsets of mem on all
// threads.
func (b *Backend) LoadRows(mem []byte, at []int64, n int64) {
	l := loadingRows{loading: loading{k: &b.k, mem: mem}, at: at, n: n}
	b.pool.run(&l, len(at), b.units(n))
}

type loadingRows struct {
	loading
	at []int64
	n  int64
}

func (l *loadingRows) run(lo, hi, _ int) {
	sum := uint64(0)
	for _, at := range l.at[lo:hi] {
		sum += l.k.Load(l.mem[at : at+l.n])
	}
	l.sum.Add(sum)
}

type loading struct {
	k   *kernel.Set
	mem []byte
	sum atomic.Uint64
}

func (l *loading) run(lo, hi, _ int) {
	l.sum.Add(l.k.Load(l.mem[lo*grainBytes : min(hi*grainBytes, len(l.mem))]))
}
