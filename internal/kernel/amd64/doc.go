// Package amd64 is the assembly of package kernel for AVX2 and AVX-512,
// written by the generator in kernel/_gen. Package kernel alone imports it and
// checks the processor first; the contracts are those of kernel.Set and kernel.Rows.
package amd64

// Ahead is the distance in bytes at which the kernels ask for what follows a row
// in memory, where the caller names no next one. Package kernel sets it once, by the
// processor.
var Ahead int64 = 8192
