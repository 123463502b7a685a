package lowrank

import (
	"runtime"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// pool computes matrix products on some threads. Threads split outputs, never
// a sum, and the sums' order is the kernels' own, so that no result depends
// on the number of threads.
type pool struct {
	set     kernel.Set
	threads int
	be      *cpu.Backend // for large products, nil without
}

// withBackend is p with a backend, to be closed, that computes large products
// in tiles, about twice as fast.
func (p pool) withBackend() pool {
	p.be = cpu.New(p.set, p.threads)
	return p
}

// newPool has all processors where threads is 0.
func newPool(threads int) pool {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return pool{set: kernel.Best(), threads: threads}
}

// each calls do once for every i from 0 to n-1, on all threads.
func (p pool) each(n int, do func(i int)) {
	parallel.For(p.threads, n, 1, func(i, _ int) { do(i) })
}

// spans is each over the spans of at most size elements that make up n.
func (p pool) spans(n, size int, do func(from, to int)) {
	parallel.For(p.threads, n, size, do)
}

const (
	tileRows = 64   // rows of c and a in a tile: with depth, 256 KiB of L2
	tileCols = 64   // columns of c, rows of b
	depth    = 1024 // longest piece of a sum: four rows of b are 16 KiB of L1
)

// mulT sets c [m, n] to a b^T, for a [m, k] and b [n, k]. It is the one
// product here: the kernel's dot products want both operands along k, so that
// a b and a^T b are mulT of a transposed copy, which costs a small share of
// the product.
func (p pool) mulT(c, a, b []float32, m, n, k int) {
	if p.be != nil {
		w := device.Mat{Data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), 4*n*k), DType: tensor.F32, Rows: n, Cols: k}
		p.be.Linear(device.Act{Data: c, Rows: m, Cols: n, Stride: n}, device.Act{Data: a, Rows: m, Cols: k, Stride: k}, w, nil)
		return
	}
	down, across := (m+tileRows-1)/tileRows, (n+tileCols-1)/tileCols
	p.each(down*across, func(tile int) {
		i, j := tile/across*tileRows, tile%across*tileCols
		for at := 0; at < k; at += depth {
			t := product{c: c, a: a[at:], b: b[at:], n: n, k: k, depth: min(depth, k-at), add: at > 0}
			t.tile(p.set, i, min(m, i+tileRows), j, min(n, j+tileCols))
		}
	})
}

// product is c = a b^T, or c += a b^T, over depth of the k columns.
type product struct {
	c, a, b     []float32
	n, k, depth int
	add         bool
}

func (t product) tile(set kernel.Set, i0, i1, j0, j1 int) {
	for j := j0; j < j1; j += 4 {
		for i := i0; i < i1; i++ {
			row := t.a[i*t.k:][:t.depth]
			next := &t.a[min(i+1, i1-1)*t.k]
			out := t.c[i*t.n+j : i*t.n+min(j+4, j1)]
			var sums [4]float32
			if len(out) == 4 {
				sums = set.Dot4F32(row, t.b[j*t.k:], t.k, next)
			} else {
				for l := range out {
					sums[l] = set.DotF32(row, t.b[(j+l)*t.k:], next)
				}
			}
			if !t.add {
				copy(out, sums[:])
				continue
			}
			for l := range out {
				out[l] += sums[l]
			}
		}
	}
}

// transpose sets dst [cols, rows] to the transpose of src [rows, cols].
func (p pool) transpose(dst, src []float32, rows, cols int) {
	const side = 32 // a block's cache lines fit in L1 both ways
	p.spans(rows, side, func(i0, i1 int) {
		for j0 := 0; j0 < cols; j0 += side {
			for j := j0; j < min(cols, j0+side); j++ {
				out := dst[j*rows:]
				for i := i0; i < i1; i++ {
					out[i] = src[i*cols+j]
				}
			}
		}
	})
}
