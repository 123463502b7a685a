package main

import (
	"runtime/debug"

	"github.com/sparseflow/sparseflow"
)

// A budget of bytes is one for the whole process. The weights, slots and
// buffers that the placement counts are mapped outside the Go heap and are as
// large as planned. What is left is the program itself, whose pages the
// runtime does not count, and the heap: tables, tokenizer, garbage.
const (
	// programBytes is what of the program's file becomes resident, the
	// embedded model's hashing included. Measured: see docs/memory.md.
	programBytes = 20 << 20
	// leastHeapBytes keeps a tiny budget from making the collector run all
	// the time: planning refuses budgets that are too small, not this.
	leastHeapBytes = 8 << 20
	// convertHeapBytes is the heap while a model is converted, whose buffers
	// are at most 16 MiB: less than the smallest budget leaves, since nothing
	// of the model is mapped yet.
	convertHeapBytes = 24 << 20
	// garbagePercent is how much garbage the heap may hold as a share of what
	// is live. Little is allocated per token, so collections are rare anyway.
	garbagePercent = 25
)

// limitToConvert holds the heap to what converting a model needs.
func limitToConvert() {
	debug.SetGCPercent(garbagePercent)
	debug.SetMemoryLimit(convertHeapBytes)
}

// limitToPlan holds the heap to what a plan leaves it, once the model is
// converted and before it is loaded.
func limitToPlan(p *sparseflow.Placement) {
	debug.SetMemoryLimit(max(leastHeapBytes, p.Process.BudgetBytes-p.MemoryBytes-programBytes))
	debug.FreeOSMemory() // what converting left, before the mapping is filled
}
