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
	stored := make([]Layer, 3) // the last has no factors
	for l, f := range layers {
		var err error
		if stored[l], err = f.Layer(); err != nil {
			t.Fatal(err)
		}
		if got, want := stored[l].Bytes(), f.Bytes(); got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
	}
	p := NewPredictor(be, stored)
	const n = 7
	x := normal(rand.New(rand.NewPCG(2, 2)), n*40)
	for l, f := range layers {
		want, got, one := make([]float32, n*f.FFN), make([]float32, n*f.FFN), make([]float32, n*f.FFN)
		f.scores(newPool(1), n, x, make([]float32, n*f.Rank), want)
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
	layers[1].A[0] = 1e6
	if _, err := layers[1].Layer(); err == nil {
		t.Error("a value beyond float16: got no error")
	}
}
