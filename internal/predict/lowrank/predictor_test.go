package lowrank

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Scores are the factors' own, by layer, and the same however many tokens are
// scored together.
func TestPredictor(t *testing.T) {
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	layers := []Factors{someFactors(40, 90, 6), someFactors(40, 70, 20)}
	p := NewPredictor(be, []Layer{mustLayer(t, layers[0]), mustLayer(t, layers[1]), {}})
	const n = 7
	x := normal(rand.New(rand.NewPCG(2, 2)), n*40)
	for l, f := range layers {
		want, got, one := make([]float32, n*f.FFN), make([]float32, n*f.FFN), make([]float32, n*f.FFN)
		exactScores(want, x, p.layers[l])
		if err := p.Scores(l, n, x, got); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-4 {
				t.Fatalf("layer %d, score %d: got %v, want %v", l, i, got[i], want[i])
			}
		}
		for i := range n {
			if err := p.Scores(l, 1, x[i*40:][:40], one[i*f.FFN:][:f.FFN]); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(one, got) {
			t.Errorf("layer %d: the batch changed the scores", l)
		}
		s := one[:f.FFN]
		if n := testing.AllocsPerRun(10, func() { _ = p.Scores(l, 1, x[:40], s) }); n != 0 {
			t.Errorf("layer %d: got %v allocations a token, want 0", l, n)
		}
	}
	for _, c := range []struct{ layer, tokens, x, scores int }{{2, 1, 40, 90}, {3, 1, 40, 90}, {-1, 1, 40, 90}, {0, 1, 39, 90}, {0, 2, 80, 90}, {0, -1, 0, 0}} {
		if err := p.Scores(c.layer, c.tokens, make([]float32, c.x), make([]float32, c.scores)); err == nil {
			t.Errorf("%+v: got no error", c)
		}
	}
}

// exactScores sets s to what the layer's stored factors score x, in float64.
func exactScores(s, x []float32, l Layer) {
	d, rank, ffn := l.A.Cols, l.A.Rows, l.B.Rows
	a, b := decoded(l.A), decoded(l.B)
	for t := range len(x) / d {
		z := make([]float64, rank)
		for r := range z {
			for k, v := range x[t*d:][:d] {
				z[r] += float64(v) * float64(a[r*d+k])
			}
		}
		for i := range ffn {
			sum := float64(l.Bias[i])
			for r, v := range z {
				sum += v * float64(b[i*rank+r])
			}
			s[t*ffn+i] = float32(sum)
		}
	}
}
