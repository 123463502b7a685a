package sample

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestArgmax(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	negZero := float32(math.Copysign(0, -1))
	tests := []struct {
		logits []float32
		want   int32
	}{
		{nil, -1},
		{[]float32{-5}, 0},
		{[]float32{1, 3, 2, 3}, 1},
		{[]float32{negZero, 0}, 0},
		{[]float32{-inf, -inf}, 0},
		{[]float32{1, inf, nan, nan}, 2},
		{[]float32{nan, inf}, 0},
	}
	for _, tt := range tests {
		if got := Argmax(tt.logits); got != tt.want {
			t.Errorf("Argmax(%v): got %d, want %d", tt.logits, got, tt.want)
		}
	}
}

func TestLogprob(t *testing.T) {
	tests := []struct {
		logits []float32
		id     int32
		want   float64
	}{
		{[]float32{7}, 0, 0},
		{[]float32{0, 0, 0, 0}, 3, -math.Log(4)},
		{[]float32{3e38, 0}, 0, 0},
		{[]float32{3e38, -3e38}, 1, 2 * float64(float32(-3e38))},
		{[]float32{-1000, -1000}, 1, -math.Ln2},
		{[]float32{1, 2}, 0, -math.Log1p(math.E)},
	}
	for _, tt := range tests {
		if got := Logprob(tt.logits, tt.id); math.Abs(got-tt.want) > 1e-12*math.Max(1, -tt.want) {
			t.Errorf("Logprob(%v, %d): got %g, want %g", tt.logits, tt.id, got, tt.want)
		}
	}
	if got := Logprob([]float32{0, float32(math.NaN())}, 0); !math.IsNaN(got) {
		t.Errorf("with a NaN: got %g, want NaN", got)
	}
}

func TestLogSoftmaxIsLogOfProbs(t *testing.T) {
	var dst []float64
	rapid.Check(t, func(t *rapid.T) {
		logits := drawLogits(t)
		probs := mustProbs(t, Params{Temperature: 1}, logits, nil)
		dst = LogSoftmax(dst, logits)
		if len(dst) != len(logits) {
			t.Fatalf("got %d values, want %d", len(dst), len(logits))
		}
		for id, got := range dst {
			if math.Abs(got-math.Log(probs[id])) > 1e-9 || got != Logprob(logits, int32(id)) {
				t.Errorf("id %d: got %g, want %g and %g", id, got, math.Log(probs[id]), Logprob(logits, int32(id)))
			}
		}
	})
}

// A sum in float32 would lose most of these terms.
func TestLogprobAccumulatesInFloat64(t *testing.T) {
	logits := make([]float32, 200_001)
	for i := range logits[1:] {
		logits[i+1] = -18
	}
	want := -math.Log1p(200_000 * math.Exp(-18))
	if got := Logprob(logits, 0); math.Abs(got-want) > 1e-10 {
		t.Errorf("got %.12g, want %.12g", got, want)
	}
}

func BenchmarkLogprob(b *testing.B) {
	logits := randomLogits(50_272)
	for b.Loop() {
		Logprob(logits, 17)
	}
}
