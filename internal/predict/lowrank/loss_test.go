package lowrank

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDecay(t *testing.T) {
	for s := float32(-90); s <= 0; s += 0.0137 {
		want := math.Exp(-math.Min(math.Abs(float64(s)), 87))
		if got := float64(decay(s)); !near(got, want, 3e-7+1.5e-7*math.Abs(float64(s))) {
			t.Fatalf("decay(%v): got %v, want %v", s, got, want)
		}
	}
	for _, s := range []float32{0, float32(math.Inf(-1)), -1e-30, -3e38} {
		if got := decay(s); !(got > 0 && got <= 1) {
			t.Errorf("decay(%v): got %v, want above 0, at most 1", s, got)
		}
	}
}

// Loss and slope against the formula, over more neurons than one product
// takes and scores of all sizes.
func TestDescend(t *testing.T) {
	const ffn = 1300
	r := rand.New(rand.NewPCG(1, 1))
	pre, scores := make([]float32, 2*ffn), make([]float32, ffn)
	for i := range pre {
		pre[i] = float32(r.NormFloat64()) - 1
	}
	data, _ := NewData(1, ffn)
	if err := data.Add([]float32{1, 2}, pre); err != nil {
		t.Fatal(err)
	}
	for i := range scores {
		scores[i] = float32(r.NormFloat64() * math.Exp(3*r.NormFloat64()-1))
	}
	l := loss{mean: 0.5, negative: 0.3}
	softplus := func(s float64) float64 { return math.Max(s, 0) + math.Log1p(math.Exp(-math.Abs(s))) }
	slope := append([]float32(nil), scores...)
	got, want := l.descend(slope, data, 1), 0.0
	for i, v := range scores {
		s, a := float64(v), float64(pre[ffn+i])
		g := 0.3 / (1 + math.Exp(-s))
		if a > 0 {
			want += a / 0.5 * softplus(-s)
			g = -a / 0.5 / (1 + math.Exp(s))
		} else {
			want += 0.3 * softplus(s)
		}
		// A slope is 1 minus a float32 for an active neuron.
		if math.Abs(float64(slope[i])-g) > 1e-5*math.Abs(g)+1e-6 {
			t.Fatalf("neuron %d, score %v: got slope %v, want %v", i, s, slope[i], g)
		}
	}
	if !near(got, want, 1e-5) {
		t.Errorf("got loss %v, want %v", got, want)
	}
}

func BenchmarkDescend(b *testing.B) {
	l := newLayer(32, 1024, 4)
	data := l.data(b, 64, 1)
	from, s := normal(rand.New(rand.NewPCG(1, 1)), 1024), make([]float32, 1024)
	for i := range from {
		from[i] = 2*from[i] - 4
	}
	for b.Loop() {
		copy(s, from)
		loss{mean: 1, negative: 1}.descend(s, data, 3)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/1024, "ns/score")
}
