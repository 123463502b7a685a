// Package ref is the oracle: the cpu backend on the plain-Go kernels, one
// thread. It is slow, and right by inspection.
package ref

import (
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// New makes the oracle.
func New() *cpu.Backend { return cpu.New(kernel.Go(), 1) }
