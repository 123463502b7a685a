package calibrate

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// A frontier drops what it expects least of, until what was really there is
// more than may be lost.
func TestFrontier(t *testing.T) {
	var f frontier
	for range 90 {
		f.add(1e-9, 0, 0) // silent, as expected
	}
	f.add(0, 0, 0)
	for range 5 {
		f.add(0.01, 0.03, 0.001)
	}
	for range 4 {
		f.add(10, 3, 10)
	}
	for _, c := range []struct{ lost, want float64 }{
		{0, 0.09},       // drops the silent alone
		{0.001, 0.04},   // and the weak, 0.005 of 40
		{0.00005, 0.09}, // which come in one bin
		{1, 0},
	} {
		if got := f.computed(1, c.lost); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("losing %v: got %v computed, want %v", c.lost, got, c.want)
		}
	}
	// The weak are 0.15 of 12.15 of the activations.
	for _, c := range []struct {
		value, energy float64
		above, atMost float64
	}{
		{0, 1, 1e-9, 0.01},     // no activation may be lost
		{1, 0, 1e-9, 0.01},     // no energy
		{0.013, 1, 0.01, 10},   // the weak may
		{0.012, 1, 1e-9, 0.01}, // not quite
		{1, 1, 10, math.Inf(1)},
	} {
		if got := f.bar(c.value, c.energy); !(got > c.above && got <= c.atMost) {
			t.Errorf("losing %v of activations, %v of energy: got a bar of %v, want one in (%v, %v]", c.value, c.energy, got, c.above, c.atMost)
		}
	}
}

// Folded, factors score what slope and offset make of their scores, and the
// calibration says that nothing is left to do.
func TestFold(t *testing.T) {
	f := lowrank.Factors{D: 2, FFN: 2, Rank: 1, A: []float32{1, 2}, B: []float32{3, -1}, Bias: []float32{0.5, 1}}
	c := newCandidate(predict.KindLowRank, 0, 2, nil)
	copy(c.out.Slope, []float32{2, 0.25})
	copy(c.out.Offset, []float32{-1, 4})
	c.factors = &f
	c.fold()
	// Scores were 3z+0.5 and 1-z.
	if want := []float32{6, -0.25}; !slices.Equal(f.B, want) {
		t.Errorf("B: got %v, want %v", f.B, want)
	}
	if want := []float32{0, 4.25}; !slices.Equal(f.Bias, want) {
		t.Errorf("bias: got %v, want %v", f.Bias, want)
	}
	if !slices.Equal(c.out.Slope, []float32{1, 1}) || !slices.Equal(c.out.Offset, []float32{0, 0}) {
		t.Errorf("got slope %v and offset %v left, want none", c.out.Slope, c.out.Offset)
	}
}

// Counts of two parts together are those of the whole.
func TestFrontierMerge(t *testing.T) {
	var whole, sum frontier
	var parts [2]frontier
	for i := range 100 {
		expected, value := math.Exp2(float64(i%13)), float64(i%7)
		whole.add(expected, value, value*value)
		parts[i%2].add(expected, value, value*value)
	}
	sum.merge(&parts[0])
	sum.merge(&parts[1])
	if sum != whole {
		t.Error("got other sums")
	}
}

// Thresholds near a guess are found to a quarter of an octave, from either
// side, by the refinements that there are.
func TestRefine(t *testing.T) {
	for _, limit := range []float64{-1.6, -0.9, -0.1, 0, 0.3, 1.1, 1.7} {
		share, best, step := 0.0, math.Inf(-1), 1.0
		for range refinements {
			share, best = refine(share, best, step, share <= limit)
			step /= 2
		}
		if !(best <= limit && best >= limit-0.25) {
			t.Errorf("limit %v: got %v", limit, best)
		}
	}
}

// The cheapest predictor at the same loss wins; where most neurons fire it is
// cheapest to predict nothing.
func TestChoose(t *testing.T) {
	const ffn, bundle = 1000, 1000
	kind := func(k predict.Kind, bytes int64, share int) *candidate {
		c := newCandidate(k, bytes, 0, nil)
		for i := range 100 {
			e := 1e-9
			if i < share {
				e = 1
			}
			c.curve.add(e, math.Floor(e), math.Floor(e))
		}
		return c
	}
	choose := func(active float64, cs ...*candidate) *candidate {
		return choose(cs, predict.FloorPerplexity, ffn, 2, bundle, active)
	}
	sketch, factors := kind(predict.KindSketch, 125_000, 5), kind(predict.KindLowRank, 20_000, 6)
	if got := choose(0.05, sketch, factors); got != factors {
		t.Errorf("got %+v, want factors: a sixth of the bytes for a fifth more neurons", got)
	}
	if got := choose(0.05, sketch, kind(predict.KindLowRank, 20_000, 9)); got != sketch {
		t.Error("got factors that compute 9 %, want the sketch: half of the neurons miss, and a miss costs most")
	}
	if got := choose(0.6, kind(predict.KindSketch, 125_000, 80)); got != nil {
		t.Error("got a predictor where 60 % fire, want none")
	}
	codes := kind(predict.KindSketch, 120_000, 5)
	codes.out.Codes.Bits = 3
	if got := choose(0.05, sketch, codes); got != sketch {
		t.Error("got codes of the layer's own that save 1 %, want the pack's sketch")
	}
	codes.bytes = 90_000
	if got := choose(0.05, sketch, codes); got != codes {
		t.Error("got the pack's sketch, want codes that save 9 %")
	}
}

// What a floor of recall allows to be lost of activations counts where little
// of the energy is lost.
func TestLoss(t *testing.T) {
	var f frontier
	for range 94 {
		f.add(1, 1, 1)
	}
	for range 6 {
		f.add(1e-3, 1, 1e-6) // strong in number, weak in the output
	}
	if got := f.computed(loss(predict.FloorRecall)); got != 1 {
		t.Errorf("recall: got %v computed, want all: leaving out the weak loses 6 %% of the activations", got)
	}
	if got := f.computed(loss(predict.FloorPerplexity)); got != 0.94 {
		t.Errorf("perplexity: got %v computed, want 0.94", got)
	}
}

// Inputs come back layer by layer, and no more of them than there is room for.
func TestInputs(t *testing.T) {
	in, err := newInputs(t.TempDir(), 3, 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	for l := range 3 {
		for n := range 3 { // two tokens each, the last two do not fit
			in.add(l, device.Act{Data: []float32{float32(l), float32(n), 9, 0.5, 0.25, 9}, Rows: 2, Cols: 2, Stride: 3})
		}
	}
	for l := range 3 {
		got, err := in.layer(l)
		if err != nil {
			t.Fatal(err)
		}
		v := float32(l)
		if want := []float32{v, 0, 0.5, 0.25, v, 1, 0.5, 0.25}; !slices.Equal(got.Data, want) {
			t.Errorf("layer %d: got %v, want %v", l, got, want)
		}
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
	in.add(0, device.Act{})
	in.n[1] = 0
	in.add(1, device.Act{Data: []float32{1, 2}, Rows: 1, Cols: 2, Stride: 2})
	if _, err := in.layer(1); err == nil {
		t.Error("a file that cannot be written: got no error")
	}
}

// TestLeft holds that what is left follows from the layers that are finished.
func TestLeft(t *testing.T) {
	for _, c := range []struct {
		took         time.Duration
		done, layers int
		want         time.Duration
	}{{time.Hour, 1, 24, 23 * time.Hour}, {time.Hour, 12, 24, time.Hour}, {time.Hour, 24, 24, 0}, {time.Hour, 0, 2, 2 * time.Hour}} {
		if got := leftAfter(c.took, c.done, c.layers); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
