package memory

import "runtime/debug"

// A budget of bytes is one for the whole process. The weights, slots and
// buffers that the placement counts are mapped outside the Go heap and are as
// large as planned. What is left is the program itself, whose pages the
// runtime does not count, and the heap: tables, tokenizer, garbage.
const (
	// programBytes is what of the program's file becomes resident, the
	// embedded model's hashing included; see docs/memory.md.
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

// PageTables is what of a budget the system takes to map the rest of it, where it has
// small pages alone: 8 bytes for 4096. A memory cgroup counts them as the process's.
func PageTables(budget int64) int64 { return budget / 512 }

// LimitHeapToConvert holds the heap to what converting a model needs.
func LimitHeapToConvert() {
	debug.SetGCPercent(garbagePercent)
	debug.SetMemoryLimit(convertHeapBytes)
}

// LimitHeap holds the heap to what a budget of the process leaves it beside
// mapped bytes, once the model is converted and before it is loaded.
func LimitHeap(budget, mapped int64) {
	debug.SetMemoryLimit(max(leastHeapBytes, budget-PageTables(budget)-mapped-programBytes))
	debug.FreeOSMemory() // what converting left, before the mapping is filled
}

// GrowHeap raises the limit of the heap.
func GrowHeap(bytes int64) { debug.SetMemoryLimit(debug.SetMemoryLimit(-1) + bytes) }
