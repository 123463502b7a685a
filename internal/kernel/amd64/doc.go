// Package amd64 is the assembly of package kernel for AVX2 and AVX-512,
// written by the generator in kernel/_gen. Package kernel alone imports it and
// checks the processor first; the contracts are those of kernel.Set and kernel.Rows.
package amd64
