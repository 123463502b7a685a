// Package cpu is the backend that computes on the processor, with the SIMD
// kernels of package kernel or, as the oracle of tests, their plain-Go twins.
//
// Work is split between threads by output: rows of a matrix, heads of a few
// tokens, columns of an MLP's output. Each output is computed by one thread in
// one order, so results are the same bits whatever the number of threads, the
// number of tokens computed together and the set of kernels. Operations too
// small to be worth splitting run on the caller's thread alone.
//
// A steady state allocates nothing: scratch grows to the largest operation seen,
// and stays.
package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// grainBytes is how much weight data a thread takes at least. Two threads gain by
// it from some 192 KiB on and lose nothing below.
const grainBytes = 64 << 10

// Backend computes on the processor. It has threads: Close it.
type Backend struct {
	k     kernel.Set
	pool  *pool
	exact bool  // see F32Activations
	grain int64 // bytes; grainBytes but in tests
	// tileBytes is the constant but in tests.
	tileBytes int64
	// One task value per operation, reused so that a step allocates nothing.
	lin     linear
	norms   norms
	add     add
	gate    gate
	rotate  rotate
	capped  capped
	round   round
	storeKV storeKV
	att     attend
	sk      sketch
	up      up
	down    down
	experts experts
	combine combine
	clip    clip
	codes   []int8    // [tokens, padded cols] quantised activations, of the sketch
	scales  []float32 // [tokens]
	sums    []int32   // [tokens]
	// records is activations rounded for quantised weights, [tokens, stride]
	// bytes; see kernel.Set.QuantizeX.
	records []byte
	fine    []float32 // see halves
}

var _ device.Backend = (*Backend)(nil)

// Option is how a backend computes beside what New says.
type Option func(*Backend)

// F32Activations multiplies weights of every type as float32 with activations as
// they are. Otherwise quantised weights that there are kernels for are multiplied
// with activations rounded to 8 bits, many times as fast.
func F32Activations(b *Backend) { b.exact = true }

// New makes a backend of threads threads, 1 or more, over the kernels of k.
func New(k kernel.Set, threads int, options ...Option) *Backend {
	b := &Backend{k: k, pool: newPool(threads), grain: grainBytes, tileBytes: tileBytes}
	b.storeKV.k, b.att.k, b.sk.k, b.down.k = &b.k, &b.k, &b.k, &b.k
	shared := make([]scratch, threads)
	b.lin.scratch, b.up.scratch, b.down.scratch = shared, shared, shared
	b.experts.b, b.experts.workers = b, make([]expertWork, threads)
	b.att.workers = make([]attendWork, threads)
	for _, option := range options {
		option(b)
	}
	return b
}

// Name is "cpu/" and the instruction set.
func (b *Backend) Name() string { return "cpu/" + b.k.Name }

// Overlap hands f to the next operation.
func (b *Backend) Overlap(f func()) { b.pool.overlapped = append(b.pool.overlapped, f) }

// Close ends the threads.
func (b *Backend) Close() { b.pool.close() }

// Add adds row by row.
func (b *Backend) Add(y, x device.Act) {
	b.add.y, b.add.x = y, x
	b.pool.run(&b.add, x.Rows, b.units(2*tensor.F32.RowBytes(x.Cols)))
}

type add struct{ y, x device.Act }

func (a *add) run(lo, hi, _ int) {
	for r := lo; r < hi; r++ {
		y, x := a.y.Row(r), a.x.Row(r)
		for i, v := range x {
			y[i] += v
		}
	}
}

// units is how many units of unitBytes a thread takes at a time.
func (b *Backend) units(unitBytes int64) int { return int(max(1, b.grain/max(1, unitBytes))) }

// grow is s with room for n elements; what it held is lost. The room is a
// multiple of growth, so that a context that grows by a token at a time does
// not allocate at each, and so that no two threads write to one cache line.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, roomFor(n))
	}
	return s[:n]
}

// roomFor is the elements for which grow makes room.
func roomFor(n int) int {
	const growth = 1024
	return (n + growth - 1) / growth * growth
}
