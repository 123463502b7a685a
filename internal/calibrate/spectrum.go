package calibrate

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// algebra computes products and decompositions of float32 matrices. Threads
// split outputs, never a sum, so that no result depends on their number.
type algebra struct {
	be      *cpu.Backend
	threads int
}

// mulT sets c [m, n] to x b^T, for x [m, k] and b [n, k].
func (a algebra) mulT(c, x, b []float32, m, n, k int) {
	w := device.Mat{Data: bytesOf(b[:n*k]), DType: tensor.F32, Rows: n, Cols: k}
	a.be.Linear(device.Act{Data: c, Rows: m, Cols: n, Stride: n}, device.Act{Data: x, Rows: m, Cols: k, Stride: k}, w, nil)
}

// transpose sets dst [cols, rows] to the transpose of src [rows, cols].
func (a algebra) transpose(dst, src []float32, rows, cols int) {
	const side = 32 // a block's cache lines fit in L1 both ways
	parallel.Spans(a.threads, rows, side, func(i0, i1 int) {
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

// jacobi is the eigen-decomposition of the symmetric a [n, n], which it
// overwrites: eigenvalues in descending order and, by rows of vectors [n, n],
// their eigenvectors. It is the cyclic Jacobi method (Golub and Van Loan,
// "Matrix Computations", 8.5), slow next to a tridiagonal one at large n but
// accurate and short; the n here is a predictor's rank.
func jacobi(a []float64, n int) (values, vectors []float64) {
	vectors = make([]float64, n*n)
	for i := range n {
		vectors[i*n+i] = 1
	}
	total := 0.0
	for _, v := range a {
		total += v * v
	}
	for range 30 { // sweeps; some eight do, it converges quadratically
		off := 0.0
		for p := range n {
			for q := p + 1; q < n; q++ {
				off += a[p*n+q] * a[p*n+q]
			}
		}
		if off <= 1e-26*total {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				rotate(a, vectors, n, p, q)
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(a[j*n+j], a[i*n+i]) })
	sorted := make([]float64, 0, n*n)
	for _, i := range order {
		values = append(values, a[i*n+i])
		sorted = append(sorted, vectors[i*n:][:n]...)
	}
	return values, sorted
}

// rotate makes a[p, q] zero. Rows and columns p and q are rotated in the
// upper and lower half alike, so that only contiguous rows are walked.
func rotate(a, vectors []float64, n, p, q int) {
	apq := a[p*n+q]
	if apq == 0 {
		return
	}
	theta := (a[q*n+q] - a[p*n+p]) / (2 * apq)
	t := 1 / (math.Abs(theta) + math.Hypot(theta, 1))
	if theta < 0 {
		t = -t
	}
	c := 1 / math.Hypot(t, 1)
	s := t * c
	app, aqq := a[p*n+p]-t*apq, a[q*n+q]+t*apq
	turn(a[p*n:][:n], a[q*n:][:n], c, s)
	turn(vectors[p*n:][:n], vectors[q*n:][:n], c, s)
	a[p*n+p], a[q*n+q], a[p*n+q], a[q*n+p] = app, aqq, 0, 0
	for k := range n {
		a[k*n+p], a[k*n+q] = a[p*n+k], a[q*n+k]
	}
}

func turn(x, y []float64, c, s float64) {
	for k, u := range x {
		v := y[k]
		x[k], y[k] = c*u-s*v, s*u+c*v
	}
}

// orthonormalise turns the rows of q [rows, n] into an orthonormal basis of
// what they span, by modified Gram-Schmidt, twice because once leaves rows
// that nearly lay in the others' span (Giraud, Langou, Rozloznik 2005: twice
// is enough). Rows that add nothing become zero.
func (a algebra) orthonormalise(q []float32, rows, n int) {
	k := kernel.Best()
	norm := func(v []float32) float64 { return math.Sqrt(float64(k.DotF32(v, v, nil))) }
	row := func(i int) []float32 { return q[i*n:][:n] }
	first := make([]float64, rows)
	for i := range rows {
		first[i] = norm(row(i))
	}
	for pass := range 2 {
		for i := range rows {
			v := row(i)
			size := norm(v)
			// What is left of a dependent row is rounding alone.
			if size == 0 || pass == 0 && size < 1e-5*first[i] {
				clear(v)
				continue
			}
			scale(v, 1/size)
			parallel.Spans(a.threads, rows-i-1, 32, func(from, to int) {
				for j := i + 1 + from; j < i+1+to; j++ {
					k.AxpyF32(row(j), -k.DotF32(v, row(j), nil), v, nil)
				}
			})
		}
	}
}

// left is the first rank left singular vectors of w c^(1/2), by rows
// [rank, ffn], and their singular values, for w [ffn, d], its transpose wt,
// and a symmetric c [d, d] without negative eigenvalues.
//
// They are eigenvectors of w c w^T, found by subspace iteration from random
// vectors with oversampling (Halko, Martinsson and Tropp, "Finding structure
// with randomness", 2011, algorithms 4.4 and 5.3) and a Rayleigh-Ritz step.
// While the subspace can hold all d directions the result is exact but for
// rounding.
func (a algebra) left(ctx context.Context, w, wt, c []float32, ffn, d, rank int, seed uint64) (vectors []float32, values []float64, err error) {
	const (
		whole = 256 // subspaces up to here are cheap enough to take whole
		turns = 6   // on a flat spectrum, the worst, 99 % of the best energy; 4 get 97 %
	)
	size := min(rank+max(16, rank/8), d)
	if d <= whole {
		size = d
	}
	size = min(size, ffn)
	r := rand.New(rand.NewPCG(seed, 0x5bd1e995))
	v := make([]float32, size*d) // [size, d]
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	cv := make([]float32, size*d)
	u := make([]float32, size*ffn) // [size, ffn]
	for turn := range turns {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		a.mulT(cv, v, c, size, d, d)   // cv = v c
		a.mulT(u, cv, w, size, ffn, d) // u = v c w^T
		a.orthonormalise(u, size, ffn)
		a.mulT(v, u, wt, size, d, ffn) // v = u w
		if size == d && turn == 0 {
			break
		}
	}
	a.mulT(cv, v, c, size, d, d)       // cv = v c
	gram := make([]float32, size*size) // u (w c w^T) u^T
	a.mulT(gram, cv, v, size, size, d)
	wide := make([]float64, size*size)
	for i := range size {
		for j := range size {
			wide[i*size+j] = (float64(gram[i*size+j]) + float64(gram[j*size+i])) / 2
		}
	}
	squares, mix := jacobi(wide, size)
	rank = min(rank, size)
	narrow := make([]float32, rank*size)
	for i := range narrow {
		narrow[i] = float32(mix[i])
	}
	ut := make([]float32, ffn*size)
	a.transpose(ut, u, size, ffn)
	vectors = make([]float32, rank*ffn)
	a.mulT(vectors, narrow, ut, rank, ffn, size)
	for _, s := range squares[:rank] {
		values = append(values, math.Sqrt(max(s, 0)))
	}
	return vectors, values, nil
}
