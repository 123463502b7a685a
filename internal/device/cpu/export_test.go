package cpu

import "github.com/sparseflow/sparseflow/internal/kernel"

// NewFine is New with work cut as finely as it can be, so that small operands
// reach every thread.
func NewFine(k kernel.Set, threads int, options ...Option) *Backend {
	b := New(k, threads, options...)
	b.grain, b.tileBytes = 1, 1
	return b
}

// Scratch is the bytes that b has made for tiles and for the last part of an
// MLP; see TileBytes.
func (b *Backend) Scratch() int64 {
	n := cap(b.down.ends) + cap(b.down.taken) + cap(b.down.value)
	for _, s := range b.down.scratch {
		n += cap(s.panel) + cap(s.strip)
	}
	return 4*int64(n+cap(b.up.active)) + 8*int64(cap(b.up.wants))
}

// ExpertScratch is the bytes that b has made for experts; see ExpertBytes.
func (b *Backend) ExpertScratch() int64 {
	e := &b.experts
	return int64(cap(e.records)+cap(e.x8)+cap(e.h8)) + 4*int64(cap(e.x32)+cap(e.h)+cap(e.up))
}
