package lowrank

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMulT(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, n := rapid.IntRange(1, 140).Draw(t, "m"), rapid.IntRange(1, 140).Draw(t, "n")
		k := rapid.OneOf(rapid.IntRange(1, 80), rapid.IntRange(1000, 2100)).Draw(t, "k")
		r := rand.New(rand.NewPCG(uint64(m), uint64(n*k)))
		a, b := normal(r, m*k), normal(r, n*k)
		one, three := make([]float32, m*n), make([]float32, m*n)
		newPool(1).mulT(one, a, b, m, n, k)
		newPool(3).mulT(three, a, b, m, n, k)
		if !slices.Equal(one, three) {
			t.Fatal("the number of threads changed the product")
		}
		for i := range m {
			for j := range n {
				want, size := 0.0, 0.0
				for l := range k {
					v := float64(a[i*k+l]) * float64(b[j*k+l])
					want += v
					size += math.Abs(v)
				}
				if got := float64(one[i*n+j]); math.Abs(got-want) > 1e-5*size {
					t.Fatalf("c[%d, %d]: got %v, want %v", i, j, got, want)
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	for _, shape := range [][2]int{{1, 1}, {1, 70}, {33, 64}, {100, 31}} {
		rows, cols := shape[0], shape[1]
		src, dst := normal(rand.New(rand.NewPCG(1, 1)), rows*cols), make([]float32, rows*cols)
		newPool(2).transpose(dst, src, rows, cols)
		for i := range rows {
			for j := range cols {
				if dst[j*rows+i] != src[i*cols+j] {
					t.Fatalf("%d x %d: element %d, %d is elsewhere", rows, cols, i, j)
				}
			}
		}
	}
}

// The products of a training step of d 256, ffn 1024, rank 64, 256 tokens.
func BenchmarkMulT(b *testing.B) {
	for _, s := range [][3]int{{256, 64, 256}, {256, 1024, 64}, {256, 64, 1024}, {1024, 64, 256}, {64, 256, 256}, {1024, 1024, 4096}} {
		for _, threads := range []int{1, 0} {
			m, n, k := s[0], s[1], s[2]
			b.Run(fmt.Sprintf("%dx%dx%d/threads=%d", m, n, k, threads), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				x, y, c := normal(r, m*k), normal(r, n*k), make([]float32, m*n)
				p := newPool(threads)
				for b.Loop() {
					p.mulT(c, x, y, m, n, k)
				}
				b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
