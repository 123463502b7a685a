package lowrank

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBinsAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := rapid.Float32().Draw(t, "v"), rapid.Float32().Draw(t, "w")
		if v < w && binOf(v) > binOf(w) {
			t.Fatalf("bins of %v and %v: got %d and %d, want them in order", v, w, binOf(v), binOf(w))
		}
		if b := binOf(v); !(binEdge(b) <= float64(v)) || binEdge(b+1) < float64(v) {
			t.Fatalf("%v: got bin %v to %v", v, binEdge(b), binEdge(b+1))
		}
	})
}

// Against sorting all scores.
func TestMeasure(t *testing.T) {
	const d, ffn, n = 3, 400, 70
	r := rand.New(rand.NewPCG(1, 1))
	// Rank 1 and x[0] = 1: scores are x[1] B + Bias, pre-activations are them
	// and noise.
	f := Factors{D: d, FFN: ffn, Rank: 1, A: []float32{0, 1, 0}, B: normal(r, ffn), Bias: normal(r, ffn)}
	x, noise := normal(r, n*d), normal(r, n*ffn)
	scores, pre := make([]float32, n*ffn), make([]float32, n*ffn)
	f.scores(newPool(1), n, x, make([]float32, n), scores)
	for i, s := range scores {
		pre[i] = s + noise[i] - 2
	}
	data, _ := NewData(d, ffn)
	if err := data.Add(x, pre); err != nil {
		t.Fatal(err)
	}
	order := make([]int, len(scores))
	active, weight, positive := 0., 0., 0.
	for i, v := range pre {
		order[i] = i
		if v > 0 {
			active, weight = active+1, weight+float64(v)
		}
		if scores[i] > 0 {
			positive++
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	all := float64(len(pre))
	for _, multiple := range []float64{0.5, 1, 1.3, 3, 1e6} {
		want := math.Min(all, math.Ceil(multiple*active))
		hits, found := 0., 0.
		for _, i := range order[:int(want)] {
			if pre[i] > 0 {
				hits, found = hits+1, found+float64(pre[i])
			}
		}
		o := quick()
		o.Multiple = multiple
		q, err := Measure(f, data, o)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string][2]float64{
			"recall": {q.Recall, hits / active}, "weighted": {q.RecallWeighted, found / weight},
			"precision": {q.Precision, hits / want}, "computed": {q.Computed, want / all},
			"active": {q.Active, active / all}, "positive": {q.Positive, positive / all}, "multiple": {q.Multiple, multiple},
		} {
			if !near(c[0], c[1], 0.003) {
				t.Errorf("%s at %v: got %v, want %v", name, multiple, c[0], c[1])
			}
		}
		bar := newMeter(f, o, 1).shift(f, data, n)
		if want := scores[order[int(active)-1]]; math.Abs(float64(bar-want)) > math.Abs(float64(want))/128 {
			t.Errorf("got bar %v, want near %v", bar, want)
		}
	}
	if _, err := Measure(Factors{}, data, quick()); err == nil {
		t.Error("no factors: got no error")
	}
	if _, err := Measure(f, nil, quick()); err == nil {
		t.Error("no data: got no error")
	}
}

// A bar within a bin takes of its scores, active ones and activation alike,
// the share that is wanted.
func TestCutWithinBin(t *testing.T) {
	data, _ := NewData(1, 5)
	if err := data.Add([]float32{0}, []float32{1, 7, 0, 0, 5}); err != nil {
		t.Fatal(err)
	}
	h := histogram{bins: make([]bin, bins)}
	h.add([]float32{1, 1, 1, 1, 3}, data, 0)
	c := h.cut(3) // the score 3 and half of the four of 1
	if c.hits != 2 || c.weight != 9 || c.bar < 1 || c.bar > 1+1./128 {
		t.Errorf("got %+v, want 2 hits of activation 9 above a bar at 1", c)
	}
}
