package main

import "runtime/debug"

// A budget of bytes is one for the whole process. The weights, slots and
// buffers that the placement counts are mapped outside the Go heap and are as
// large as planned. What is left is the program itself, whose pages the
// runtime does not count, and the heap: tables, tokenizer, garbage.
const (
	// programBytes is what of the program's file becomes resident.
	programBytes = 20 << 20
	// leastHeapBytes keeps a tiny budget from making the collector run all
	// the time: planning refuses budgets that are too small, not this.
	leastHeapBytes = 8 << 20
	// garbagePercent is how much garbage the heap may hold as a share of what
	// is live. Nothing is allocated per token, so collections are rare anyway.
	garbagePercent = 25
)

// limitMemory holds the Go heap to what a budget of bytes leaves beside the
// bytes that are mapped outside of it. Without such a budget (0) it does
// nothing. It is called before a model is converted and again once its
// placement is known.
func limitMemory(budgetBytes, mappedBytes int64) {
	if budgetBytes <= 0 {
		return
	}
	debug.SetGCPercent(garbagePercent)
	limit := max(leastHeapBytes, budgetBytes-mappedBytes-programBytes)
	debug.SetMemoryLimit(min(limit, debug.SetMemoryLimit(-1))) // GOMEMLIMIT may be less
	if mappedBytes > 0 {
		debug.FreeOSMemory() // what converting left, before the mapping is filled
	}
}
