package predict

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"pgregory.net/rapid"
)

// kth is the k-th largest of v by a Selection.
func kth(v []float32, k int) float32 {
	s := &Selection{}
	s.rank(v)
	return s.kthLargest(k)
}

func TestKthLargest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.OneOf(rapid.Float32Range(-3, 3), rapid.Float32()), 1, 300).Draw(t, "v")
		if rapid.Bool().Draw(t, "ties") {
			for i := range v {
				v[i] = float32(math.Round(float64(v[i])))
			}
		}
		k := rapid.IntRange(1, len(v)).Draw(t, "k")
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		if got, want := kth(v, k), sorted[len(v)-k]; got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// Orders and values that are bad for a selection.
func TestKthLargestBadOrders(t *testing.T) {
	const n = 1 << 15
	for name, at := range map[string]func(i int) float32{
		"ascending":  func(i int) float32 { return float32(i) },
		"descending": func(i int) float32 { return float32(n - i) },
		"equal":      func(int) float32 { return 3 },
		"two values": func(i int) float32 { return float32(i & 1) },
		"organ pipe": func(i int) float32 { return float32(min(i, n-i)) },
		"infinities": func(i int) float32 { return float32(math.Inf(i%3 - 1)) },
		"one digit":  func(i int) float32 { return 1 + float32(i)/(1<<23) },
	} {
		v := make([]float32, n)
		for i := range v {
			v[i] = at(i)
		}
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		for _, k := range []int{1, n / 30, n / 2, n} {
			if got, want := kth(v, k), sorted[n-k]; got != want {
				t.Errorf("%s: k %d: got %v, want %v", name, k, got, want)
			}
		}
	}
}

// Whatever the scores, those above the bar are the highest, as many as asked
// for and those that tie with the last.
func TestThresholdOfAnyBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := make([]float32, rapid.IntRange(0, 300).Draw(t, "n"))
		bits := rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1 << 31, 1, 0x80000001, 0x7f800000, 0xff800000,
			0x7fc00000, 0xffc00000, 0x7f800001, 0x3f800000, 0xbf800000, 0x3f800001}))
		var ranked []float32
		positive := 0
		for i := range scores {
			scores[i] = math.Float32frombits(bits.Draw(t, "bits"))
			if scores[i] == scores[i] {
				ranked = append(ranked, scores[i])
			}
			if scores[i] > 0 {
				positive++
			}
		}
		s := Selection{Multiple: rapid.SampledFrom([]float64{0.5, 1.3, 2, 7}).Draw(t, "multiple")}
		bar := s.Threshold(scores)
		slices.Sort(ranked)
		k := int(math.Ceil(s.Multiple * float64(positive)))
		for i, v := range scores {
			want := v == v && k > 0 && (k >= len(ranked) && v > float32(math.Inf(-1)) || k < len(ranked) && v >= ranked[len(ranked)-k] && v > float32(math.Inf(-1)))
			if got := v > bar; got != want {
				t.Fatalf("score %d, %v: got %v, want %v; bar %v, %d of %d", i, v, got, want, bar, k, len(ranked))
			}
		}
	})
}

func TestThresholdEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		multiple float64
		scores   []float32
		want     []int // the indexes that are wanted
	}{
		{1, []float32{-1, 0, 2, 1e-30, -0.5}, []int{2, 3}},
		{1, []float32{nan, 1, -inf, inf}, []int{1, 3}},
		{2, []float32{-1, -2, -3}, nil}, // none active, none wanted
		{2, nil, nil},
		{2, []float32{3, -1, -2, -3}, []int{0, 1}},
		{2, []float32{3, -2, -1, -2}, []int{0, 2}},
		{2, []float32{3, -1, -1, -3}, []int{0, 1, 2}}, // a tie
		{2, []float32{3, 2, 1, -3}, []int{0, 1, 2, 3}},
		{1.3, []float32{5, 4, 3, 2, 1, -1, -2, -3, -4}, []int{0, 1, 2, 3, 4, 5, 6}},
		{2, []float32{nan, nan, 3, -1, -2, nan}, []int{2, 3}},
		{2, []float32{nan, 3, nan, nan}, []int{1}},
		{2, []float32{nan, nan, nan}, nil},
		{2, []float32{inf, -1, -inf}, []int{0, 1}},
	} {
		s := Selection{Multiple: c.multiple}
		for range 2 { // the second time with what the first left in the scratch
			bar := s.Threshold(c.scores)
			var got []int
			for i, v := range c.scores {
				if v > bar {
					got = append(got, i)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v times of %v: got %v wanted (bar %v), want %v", c.multiple, c.scores, got, bar, c.want)
			}
		}
	}
}

// Scores are left as they are and a decoding step allocates nothing.
func TestThresholdLeavesScores(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	scores := make([]float32, 5000)
	for i := range scores {
		scores[i] = float32(r.NormFloat64())
	}
	before := slices.Clone(scores)
	s := Selection{Multiple: 1.5}
	s.Threshold(scores)
	if !slices.Equal(before, scores) {
		t.Error("the scores were changed")
	}
	if n := testing.AllocsPerRun(10, func() { s.Threshold(scores) }); n != 0 {
		t.Errorf("got %v allocations a run, want 0", n)
	}
}

func TestAll(t *testing.T) {
	scores := []float32{-1, 0, 5, 7}
	if err := (All{}).Scores(3, 2, nil, scores); err != nil {
		t.Fatal(err)
	}
	s := Selection{Multiple: 1}
	if bar := s.Threshold(scores[:2]); !slices.Equal(scores, []float32{1, 1, 1, 1}) || bar >= 1 {
		t.Errorf("got scores %v, bar %v, want all wanted", scores, bar)
	}
}

// Each layer has its own weights.
func TestLayers(t *testing.T) {
	be := ref.New()
	defer be.Close()
	layer := func(w ...float32) device.Mat {
		raw := make([]byte, tensor.F32.RowBytes(len(w)))
		tensor.Encode(raw, w, tensor.F32)
		return device.Mat{Data: raw, DType: tensor.F32, Rows: 2, Cols: 2}
	}
	o := &Oracle{Backend: be, Layers: []device.Mat{layer(1, 0, 0, 1), layer(0, 2, 3, 0)}, Bias: [][]float32{{10, 20}, nil}}
	for l, want := range [][]float32{{15, 27, 16, 28}, {14, 15, 16, 18}} {
		got := make([]float32, 4)
		if err := o.Scores(l, 2, []float32{5, 7, 6, 8}, got); err != nil || !slices.Equal(got, want) {
			t.Errorf("layer %d: got %v, %v, want %v", l, got, err, want)
		}
	}
}

// The oracle's scores are the bits that the MLP's own first parts give, of one token
// and of several, in types that matrices are multiplied in otherwise.
func TestOracleIsTheMLP(t *testing.T) {
	const d, ffn = 1024, 300
	r := rand.New(rand.NewPCG(3, 3))
	be := cpu.New(kernel.Best(), 2)
	defer be.Close()
	w, x := make([]float32, ffn*d), make([]float32, 3*d)
	for _, v := range [][]float32{w, x} {
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
	}
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		m := device.Mat{Data: make([]byte, dt.RowBytes(ffn*d)), DType: dt, Rows: ffn, Cols: d}
		tensor.Encode(m.Data, w, dt)
		s := device.Slots{Data: m.Data, Stride: dt.RowBytes(d), DType: dt, Cols: d, Parts: 2}
		work := device.Work{Act: config.ReLU}
		for i := range ffn {
			work.IDs = append(work.IDs, int32(i))
		}
		work.Slots = work.IDs
		o := &Oracle{Backend: be, Layers: []device.Mat{m}, Bias: [][]float32{nil}, Act: config.ReLU}
		for _, tokens := range []int{1, 3} {
			got, want := make([]float32, tokens*ffn), make([]float32, ffn*tokens)
			if err := o.Scores(0, tokens, x[:tokens*d], got); err != nil {
				t.Fatal(err)
			}
			be.Up(want, act(x[:tokens*d], tokens, d), s, work, work.IDs)
			for i := range ffn {
				for tok := range tokens {
					if got[tok*ffn+i] != want[i*tokens+tok] {
						t.Fatalf("%v, %d tokens: neuron %d: got %v, want %v", dt, tokens, i, got[tok*ffn+i], want[i*tokens+tok])
					}
				}
			}
		}
	}
}

// A score is above zero exactly where the pre-activation is above the threshold,
// however near.
func TestScoresAboveThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.Float32Range(0, 1).Draw(t, "threshold")
		near := math.Nextafter32(threshold, rapid.SampledFrom([]float32{-1, 2}).Draw(t, "side"))
		for _, pre := range []float32{near, threshold, 0, rapid.Float32().Draw(t, "pre")} {
			got := []float32{pre}
			if lower(got, threshold); (got[0] > 0) != (pre > threshold) {
				t.Fatalf("got a score of %v for %v at threshold %v", got[0], pre, threshold)
			}
		}
	})
}

func BenchmarkThreshold(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	scores := make([]float32, 16384)
	for i := range scores {
		scores[i] = float32(r.NormFloat64() - 1.8) // 3.6 % above zero
	}
	s := Selection{Multiple: 2}
	for b.Loop() {
		s.Threshold(scores)
	}
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
		if math.Abs(float64(exact[i])-max(0, want)) > 1e-4 {
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
