package synth

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func TestBasis(t *testing.T) {
	s := newSpace(256, 3, kernel.Best())
	if s.rank != 8 {
		t.Fatalf("got rank %d, want 8", s.rank)
	}
	for i := range s.rank {
		sum := 0.0
		for r := range s.d {
			sum += float64(s.basis[r*s.rank+i])
		}
		if math.Abs(sum) > 1e-5 {
			t.Errorf("column %d sums to %v, want 0", i, sum)
		}
		for j := range s.rank {
			product, want := 0.0, 0.0
			for r := range s.d {
				product += float64(s.basis[r*s.rank+i]) * float64(s.basis[r*s.rank+j])
			}
			if i == j {
				want = 1
			}
			if math.Abs(product-want) > 1e-5 {
				t.Errorf("columns %d and %d: got product %v, want %v", i, j, product, want)
			}
		}
	}
}

// drawn is n rows of a tensor as numbers.
func drawn(s *space, r rows, n int) []float32 {
	b := make([]byte, 2*n*s.d)
	s.fill(b, r, 0, n, 2)
	v := make([]float32, n*s.d)
	tensor.Decode(v, b, tensor.F16)
	return v
}

// spread is the mean square of the rows' elements along the basis, and of all.
func spread(s *space, v []float32) (along, all float64) {
	n := len(v) / s.d
	for t := range n {
		x := v[t*s.d : (t+1)*s.d]
		for j := range s.rank {
			product := 0.0
			for i, e := range x {
				product += float64(e) * float64(s.basis[i*s.rank+j])
			}
			along += product * product
		}
		for _, e := range x {
			all += float64(e) * float64(e)
		}
	}
	return along / float64(n*s.rank), all / float64(n*s.d)
}

// What is written has the stated covariance, first halves of neurons their
// length and share along the basis.
func TestRows(t *testing.T) {
	s := newSpace(256, 5, kernel.Best())
	const n, scale = 4000, 0.25
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s: got %.4g, want %.4g", what, got, want)
		}
	}
	along, all := spread(s, drawn(s, s.written(1, scale), n))
	near("written, along the basis", along, kappa*scale*scale)
	near("written, on average", all, scale*scale)

	along, all = spread(s, drawn(s, s.neurons(2), n))
	near("neurons, squared length", all*float64(s.d), 1)
	near("neurons, along the basis", along*float64(s.rank), beta+(1-beta)*float64(s.rank)/float64(s.d))

	along, all = spread(s, drawn(s, s.independent(3), n))
	near("independent, squared length", all*float64(s.d), 1)
	near("independent, along the basis", along, 1/float64(s.d))
}

// A row is the same bytes whatever it is drawn with, on every instruction set.
func TestRowsAlone(t *testing.T) {
	const d, n = 100, 30
	s := newSpace(d, 7, kernel.Best())
	all := make([]byte, 2*n*d)
	s.fill(all, s.neurons(4), 0, n, 3)
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, n-1).Draw(t, "first")
		count := rapid.IntRange(1, n-first).Draw(t, "count")
		set := rapid.SampledFrom(kernel.All()).Draw(t, "set")
		other := newSpace(d, 7, set)
		got := make([]byte, 2*count*d)
		other.fill(got, other.neurons(4), first, count, rapid.IntRange(1, 4).Draw(t, "threads"))
		if !bytes.Equal(got, all[2*first*d:2*(first+count)*d]) {
			t.Fatalf("rows %d to %d differ from the same rows among all", first, first+count)
		}
	})
	a, b := make([]byte, 2*d), make([]byte, 2*d)
	s.fill(a, s.neurons(4), 1, 1, 1)
	for what, r := range map[string]rows{"row 2": s.neurons(4), "another tensor": s.neurons(5)} {
		first := 1
		if what == "row 2" {
			first = 2
		}
		if s.fill(b, r, first, 1, 1); bytes.Equal(a, b) {
			t.Errorf("%s: got the bytes of row 1", what)
		}
	}
	if newSpace(d, 8, kernel.Best()).fill(b, s.neurons(4), 1, 1, 1); bytes.Equal(a, b) {
		t.Error("another seed gave the same bytes")
	}
}

// The normal distribution of the table is one: moments and tail.
func TestNormals(t *testing.T) {
	table := newNormalTable()
	s := newStream(1, 2, 3)
	v := make([]float32, 400_003)
	table.draw(v, &s, 2)
	var sum, square, fourth float64
	tail := 0
	for _, x := range v {
		z := float64(x) / 2
		sum, square, fourth = sum+z, square+z*z, fourth+z*z*z*z
		if z > 3 {
			tail++
		}
	}
	n := float64(len(v))
	if math.Abs(sum/n) > 0.01 || math.Abs(square/n-1) > 0.01 || math.Abs(fourth/n-3) > 0.1 || math.Abs(float64(tail)/n/0.00135-1) > 0.15 {
		t.Errorf("got mean %.4f, variance %.4f, fourth moment %.3f, %.5f above 3", sum/n, square/n, fourth/n, float64(tail)/n)
	}
}
