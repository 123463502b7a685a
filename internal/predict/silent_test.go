package predict

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// fixed scores tokens as it was told.
type fixed []float32

func (f fixed) Scores(_, _ int, _, scores []float32) error {
	copy(scores, f)
	return nil
}

// The silent neurons above zero are those that the rule without a calibration
// asks for among them, token by token; the others keep their scores.
func TestSilent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens, ffn := rapid.IntRange(1, 3).Draw(t, "tokens"), rapid.IntRange(1, 40).Draw(t, "ffn")
		draw := rapid.OneOf(rapid.Float32Range(-2, 2), rapid.SampledFrom([]float32{0, 1, -1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.SmallestNonzeroFloat32}))
		scores := fixed(rapid.SliceOfN(draw, tokens*ffn, tokens*ffn).Draw(t, "scores"))
		silent := rapid.SliceOfN(rapid.Bool(), ffn, ffn).Draw(t, "silent")
		var ids []int32
		for i, is := range silent {
			if is {
				ids = append(ids, int32(i))
			}
		}
		s := &Silent{ActivationPredictor: scores, IDs: [][]int32{nil, ids}}
		got := make([]float32, tokens*ffn)
		if err := s.Scores(1, tokens, nil, got); err != nil {
			t.Fatal(err)
		}
		for at := range tokens {
			row := scores[at*ffn : (at+1)*ffn]
			var of []float32
			for _, i := range ids {
				of = append(of, row[i])
			}
			bar := (&Selection{Multiple: SilentMultiple}).Threshold(of)
			for i, v := range row {
				switch now := got[at*ffn+i]; {
				case !silent[i] && math.Float32bits(now) != math.Float32bits(v):
					t.Fatalf("token %d, neuron %d: got %v, want %v as scored", at, i, now, v)
				case silent[i] && (now > 0) != (v > bar):
					t.Fatalf("token %d, silent neuron %d: got %v of a score of %v, want above zero: %v", at, i, now, v, v > bar)
				}
			}
		}
	})
}
