package predict

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"pgregory.net/rapid"
)

func TestKthLargest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Float32Range(-3, 3), 1, 300).Draw(t, "v")
		if rapid.Bool().Draw(t, "ties") {
			for i := range v {
				v[i] = float32(math.Round(float64(v[i])))
			}
		}
		k := rapid.IntRange(1, len(v)).Draw(t, "k")
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		if got, want := kthLargest(v, k), sorted[len(v)-k]; got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// The threshold lets through the wanted number of neurons, more only on ties.
func TestThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOfN(rapid.Float32Range(-1, 1), 1, 200).Draw(t, "scores")
		s := Selection{Multiple: rapid.SampledFrom([]float64{1, 1.3, 2, 5}).Draw(t, "multiple")}
		bar := s.Threshold(scores)
		active, wanted, tied := 0, 0, 0
		for _, v := range scores {
			if v > 0 {
				active++
			}
			if v > bar {
				wanted++
			}
			if v == math.Nextafter32(bar, 2) {
				tied++
			}
		}
		want := min(len(scores), int(math.Ceil(s.Multiple*float64(active))))
		if wanted < want || wanted > want+max(0, tied-1) {
			t.Fatalf("got %d wanted of %d active at %v, want %d (%d tied)", wanted, active, s.Multiple, want, tied)
		}
		for _, v := range scores {
			if v > 0 && v <= bar {
				t.Fatalf("score %v is above 0 and not wanted at bar %v", v, bar)
			}
		}
	})
}

// On random weights the sketch ranks nearly as the oracle does, and the
// oracle is exact.
func TestSketchNearOracle(t *testing.T) {
	const d, ffn, tokens = 96, 400, 5
	r := rand.New(rand.NewPCG(1, 2))
	be := ref.New()
	defer be.Close()
	fc1 := make([]float32, ffn*d)
	for i := range fc1 {
		fc1[i] = float32(r.NormFloat64()) * 0.1
	}
	bias := make([]float32, ffn)
	x := make([]float32, tokens*d)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range bias {
		bias[i] = -0.5
	}
	raw := make([]byte, tensor.F32.RowBytes(len(fc1)))
	tensor.Encode(raw, fc1, tensor.F32)
	sk := device.SketchMat{RowBytes: pack.SketchBytes(d), Rows: ffn, Cols: d, Bias: bias}
	for i := range ffn {
		row := make([]byte, sk.RowBytes)
		sk.Scales = append(sk.Scales, pack.PackSketch(row, fc1[i*d:(i+1)*d]))
		sk.Codes = append(sk.Codes, row...)
	}
	oracle := &Oracle{Backend: be, Layers: []device.Mat{{Data: raw, DType: tensor.F32, Rows: ffn, Cols: d}}, Bias: [][]float32{bias}}
	sketch := &Sketch{Backend: be, Layers: []device.SketchMat{sk}}
	exact, guess := make([]float32, tokens*ffn), make([]float32, tokens*ffn)
	for _, run := range []struct {
		p      ActivationPredictor
		scores []float32
	}{{oracle, exact}, {sketch, guess}} {
		if err := run.p.Scores(0, tokens, x, run.scores); err != nil {
			t.Fatal(err)
		}
	}
	var signal, noise float64
	for i := range exact {
		tok, n := i/ffn, i%ffn
		want := float64(bias[n])
		for k := range d {
			want += float64(fc1[n*d+k]) * float64(x[tok*d+k])
		}
		if math.Abs(float64(exact[i])-want) > 1e-4 {
			t.Fatalf("oracle, token %d neuron %d: got %v, want %v", tok, n, exact[i], want)
		}
		signal += want * want
		e := float64(guess[i]) - want
		noise += e * e
	}
	// Notes on 4-bit uniform quantisation: relative squared error near .0115
	// (Max 1960, 16 levels, normal inputs), plus the 8-bit inputs' share.
	if noise/signal > 0.02 {
		t.Errorf("sketch: got relative squared error %.4f, want at most 0.02", noise/signal)
	}
}
