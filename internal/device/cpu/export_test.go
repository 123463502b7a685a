package cpu

import "github.com/sparseflow/sparseflow/internal/kernel"

// NewFine is New with work cut as finely as it can be, so that small operands
// reach every thread.
func NewFine(k kernel.Set, threads int) *Backend {
	b := New(k, threads)
	b.grain, b.tileBytes = 1, 1
	return b
}
