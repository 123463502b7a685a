package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/kernel"
)

func TestJacobiKnown(t *testing.T) {
	root := math.Sqrt(0.5)
	for _, c := range []struct {
		n               int
		a, values, rows []float64
	}{
		{1, []float64{-3}, []float64{-3}, []float64{1}},
		{2, []float64{2, 1, 1, 2}, []float64{3, 1}, []float64{root, root, -root, root}},
		{3, []float64{1, 0, 0, 0, 5, 0, 0, 0, -2}, []float64{5, 1, -2}, []float64{0, 1, 0, 1, 0, 0, 0, 0, 1}},
		{2, []float64{0, 0, 0, 0}, []float64{0, 0}, []float64{1, 0, 0, 1}},
	} {
		values, rows := jacobi(slices.Clone(c.a), c.n)
		for i, v := range values {
			dot := 0.0
			for k := range c.n {
				dot += rows[i*c.n+k] * c.rows[i*c.n+k]
			}
			if math.Abs(v-c.values[i]) > 1e-14 || math.Abs(math.Abs(dot)-1) > 1e-14 {
				t.Errorf("%v: got %v, %v, want %v, %v up to signs", c.a, values, rows, c.values, c.rows)
			}
		}
	}
}

// A = V^T diag(values) V with orthonormal rows V, in descending order.
func TestJacobi(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 24).Draw(t, "n")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a := make([]float64, n*n)
		for i := range n {
			for j := range i + 1 {
				a[i*n+j] = r.NormFloat64()
				if rapid.Bool().Draw(t, "zero") {
					a[i*n+j] = 0
				}
				a[j*n+i] = a[i*n+j]
			}
		}
		values, v := jacobi(slices.Clone(a), n)
		for i := 1; i < n; i++ {
			if values[i] > values[i-1] {
				t.Fatalf("got eigenvalues %v, want them descending", values)
			}
		}
		for i := range n {
			for j := range n {
				back, dot := 0.0, 0.0
				for k := range n {
					back += values[k] * v[k*n+i] * v[k*n+j]
					dot += v[i*n+k] * v[j*n+k]
				}
				if i == j {
					dot--
				}
				if math.Abs(back-a[i*n+j]) > 1e-11 || math.Abs(dot) > 1e-12 {
					t.Fatalf("element %d, %d: got %v back of %v, dot product off by %v", i, j, back, a[i*n+j], dot)
				}
			}
		}
	})
}

func TestOrthonormalise(t *testing.T) {
	const rows, n = 40, 90
	p, set := algebra{testBackend(t), 2}, kernel.Best()
	q := normal(rand.New(rand.NewPCG(1, 1)), rows*n)
	for k := range n { // nearly in the others' span, in it, and zero
		q[7*n+k] = q[3*n+k] + 1e-3*q[7*n+k]
		q[9*n+k] = 2*q[1*n+k] - q[4*n+k]
		q[11*n+k] = 0
	}
	p.orthonormalise(q, rows, n)
	for i := range rows {
		for j := range i + 1 {
			want := 0.0
			if i == j && i != 9 && i != 11 {
				want = 1
			}
			if got := float64(set.DotF32(q[i*n:][:n], q[j*n:][:n], nil)); math.Abs(got-want) > 2e-6 {
				t.Errorf("rows %d, %d: got dot product %v, want %v", i, j, got, want)
			}
		}
	}
}

// Singular values and vectors of matrices that were made from them, by the
// whole space and by iteration.
func TestLeftKnown(t *testing.T) {
	for _, s := range []struct{ ffn, d, rank int }{{120, 60, 10}, {50, 80, 12}, {400, 300, 20}} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			p, set := algebra{testBackend(t), 2}, kernel.Best()
			r := rand.New(rand.NewPCG(1, 1))
			full := 2 * s.rank
			u, v := normal(r, full*s.ffn), normal(r, full*s.d)
			p.orthonormalise(u, full, s.ffn)
			p.orthonormalise(v, full, s.d)
			w, wt := make([]float32, s.ffn*s.d), make([]float32, s.ffn*s.d)
			size := func(k int) float64 { return 5 * math.Pow(0.9, float64(k)) }
			for i := range s.ffn {
				for j := range s.d {
					for k := range full {
						w[i*s.d+j] += float32(size(k)) * u[k*s.ffn+i] * v[k*s.d+j]
					}
				}
			}
			p.transpose(wt, w, s.ffn, s.d)
			got, sizes, err := p.left(t.Context(), w, wt, identity(s.d), s.ffn, s.d, s.rank, 1)
			if err != nil {
				t.Fatal(err)
			}
			for k := range s.rank {
				if !near(sizes[k], size(k), 1e-4) {
					t.Errorf("singular value %d: got %v, want %v", k, sizes[k], size(k))
				}
				dot := set.DotF32(got[k*s.ffn:][:s.ffn], u[k*s.ffn:], nil)
				if math.Abs(math.Abs(float64(dot))-1) > 1e-3 {
					t.Errorf("singular vector %d: got one with %v of the wanted one", k, dot)
				}
			}
		})
	}
}

// On a flat spectrum, the hardest for subspace iteration, what it captures is
// close to what the whole space gives.
func TestLeftIterated(t *testing.T) {
	const ffn, d, rank = 500, 260, 32 // above the whole space's limit
	p := algebra{testBackend(t), 2}
	w, wt := normal(rand.New(rand.NewPCG(1, 1)), ffn*d), make([]float32, ffn*d)
	p.transpose(wt, w, ffn, d)
	energy := func(rank int) float64 {
		_, sizes, err := p.left(t.Context(), w, wt, identity(d), ffn, d, rank, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, s := range sizes[:32] {
			sum += s * s
		}
		return sum
	}
	if got, want := energy(rank), energy(d-1); got < 0.97*want || got > 1.0001*want {
		t.Errorf("got energy %v, want within 3 %% below %v", got, want)
	}
}

func TestTranspose(t *testing.T) {
	for _, shape := range [][2]int{{1, 1}, {1, 70}, {33, 64}, {100, 31}} {
		rows, cols := shape[0], shape[1]
		src, dst := normal(rand.New(rand.NewPCG(1, 1)), rows*cols), make([]float32, rows*cols)
		algebra{threads: 2}.transpose(dst, src, rows, cols)
		for i := range rows {
			for j := range cols {
				if dst[j*rows+i] != src[i*cols+j] {
					t.Fatalf("%d x %d: element %d, %d is elsewhere", rows, cols, i, j)
				}
			}
		}
	}
}
