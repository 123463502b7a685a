package profile

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"

	"pgregory.net/rapid"
)

// foldsOf counts as the recorder does.
func foldsOf(s sets, ffn int) [][]uint32 {
	parts := make([][]uint32, folds)
	for f := range parts {
		parts[f] = make([]uint32, ffn)
	}
	for t := range s.len() {
		for _, id := range s.appendTo(nil, t) {
			parts[t/foldBlock%folds][id]++
		}
	}
	return parts
}

// On draws from known distributions the shares at 80 and 95 % are within a
// tenth of the truth; the raw counts are not.
func TestSkewOfZipf(t *testing.T) {
	for _, c := range []struct {
		ffn, tokens int
		a, mean     float64
	}{
		{1024, 1280, 0.7, 0.03},
		{1024, 1280, 1, 0.03},
		{1024, 1280, 1.3, 0.03},
		{1024, 5120, 0.7, 0.002},
		{1024, 5120, 1, 0.002},
		{4096, 640, 0.7, 0.03},
		{4096, 640, 1, 0.03},
		{4096, 640, 1.3, 0.03},
		{1024, 640, 0, 0.03},
	} {
		p := zipf(c.ffn, c.a, c.mean)
		parts := foldsOf(draw(rand.New(rand.NewPCG(3, 1)), p, c.tokens), c.ffn)
		truth := make([]float64, c.ffn)
		sum := 0.0
		for i, v := range p {
			sum += v
			truth[i] = sum / c.mean / float64(c.ffn)
		}
		curve := Curve(parts)
		for _, f := range []float64{0.8, 0.95} {
			want, got := ShareFor(truth, f), ShareFor(curve, f)
			if math.Abs(got-want) > 0.1*want {
				t.Errorf("%+v: got %.3f of the neurons for %.2f, want %.3f", c, got, f, want)
			}
		}
	}
}

// The curve rises from 0 to 1, and does not know the neurons' names.
func TestCurveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ffn := rapid.IntRange(1, 20).Draw(t, "ffn")
		parts := make([][]uint32, rapid.IntRange(1, 4).Draw(t, "parts"))
		total := uint32(0)
		for i := range parts {
			parts[i] = rapid.SliceOfN(rapid.Uint32Range(0, 9), ffn, ffn).Draw(t, "counts")
			for _, n := range parts[i] {
				total += n
			}
		}
		curve := Curve(parts)
		if total == 0 {
			if curve != nil {
				t.Fatalf("got %v without activations, want nil", curve)
			}
			return
		}
		last := 0.0
		for k, v := range curve {
			if v < last {
				t.Fatalf("got %v, which falls at %d", curve, k)
			}
			last = v
		}
		if math.Abs(last-1) > 1e-9 {
			t.Fatalf("got an end of %v, want 1", last)
		}
		order := rapid.Permutation(cache.Hottest(parts[0])).Draw(t, "order")
		moved := make([][]uint32, len(parts))
		for i, p := range parts {
			moved[i] = make([]uint32, ffn)
			for from, to := range order {
				moved[i][to] = p[from]
			}
		}
		for k, v := range Curve(moved) {
			if math.Abs(v-curve[k]) > 1e-9 {
				t.Fatalf("after renaming got %v at %d, want %v", v, k, curve[k])
			}
		}
	})
}

func TestShareFor(t *testing.T) {
	curve := []float64{0.5, 0.8, 0.9, 1}
	for f, want := range map[float64]float64{0: 0.25, 0.5: 0.25, 0.8: 0.5, 0.81: 0.75, 1: 1} {
		if got := ShareFor(curve, f); got != want {
			t.Errorf("%v: got %v, want %v", f, got, want)
		}
	}
}
