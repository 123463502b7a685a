package lowrank

import (
	"math"
	"math/rand/v2"
	"testing"
)

// layer is a made-up layer of known structure. Its fc1 is a low rank plus
// noise, in two parts: half of the neurons hardly fire but have the larger
// weights, so that the rank that is best for the squared error is spent on
// them, and the other half fires at shares around 10 %.
type layer struct {
	d, ffn  int
	w, bias []float32
}

func newLayer(d, ffn, rank int) layer {
	r := rand.New(rand.NewPCG(1, 7))
	l := layer{d: d, ffn: ffn, w: make([]float32, ffn*d), bias: make([]float32, ffn)}
	busy, idle := normal(r, rank*d), normal(r, rank*d)
	for i := range ffn {
		row, space, size, quiet := l.w[i*d:][:d], busy, 1.0, 1.2
		if i%2 == 1 {
			space, size, quiet = idle, 1.5, 3.5
		}
		sum := 0.0
		for k := range rank {
			a := float32(r.NormFloat64() * size)
			for j := range row {
				row[j] += a * space[k*d+j] / float32(math.Sqrt(float64(rank*d)))
			}
		}
		for j := range row {
			row[j] += float32(r.NormFloat64() * 0.3 / math.Sqrt(float64(d)))
			sum += float64(row[j]) * float64(row[j])
		}
		l.bias[i] = float32(-math.Sqrt(sum) * (quiet + 0.3*r.NormFloat64()))
	}
	return l
}

// sample is n tokens of normal inputs and their pre-activations.
func (l layer) sample(n int, seed uint64) (x, pre []float32) {
	x, pre = normal(rand.New(rand.NewPCG(seed, 3)), n*l.d), make([]float32, n*l.ffn)
	newPool(0).mulT(pre, x, l.w, n, l.ffn, l.d)
	for i := range pre {
		pre[i] += l.bias[i%l.ffn]
	}
	return x, pre
}

func (l layer) data(t testing.TB, n int, seed uint64) *Data {
	t.Helper()
	a, err := NewData(l.d, l.ffn)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Add(l.sample(n, seed)); err != nil {
		t.Fatal(err)
	}
	return a
}

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// near reports whether got is within share of want.
func near(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }
