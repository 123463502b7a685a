package synth

import (
	"context"
	"github.com/sparseflow/sparseflow/internal/sample"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// medium is the smallest shape whose statistics are those of large models.
func medium(layers int) Options {
	return Options{Profile: Sizes{Hidden: 512, Layers: layers, Heads: 8, FFN: 2048, Vocab: 8000, Context: 512}.Profile(), Seed: 1}
}

// The engine finds the published statistics within a tenth, on tokens that
// nothing was calibrated on: the active share of every layer, the skew, how
// alike consecutive layers' inputs are, and what five tokens have in common.
func TestStatistics(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	ctx, path, o := context.Background(), filepath.Join(t.TempDir(), "m.sflow"), medium(4)
	if _, err := Pack(ctx, path, o, convert.Options{Name: "m"}); err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	strategy := config.DefaultStrategy()
	strategy.Mode, strategy.Context = config.Gate, 512
	pr, err := profile.Open(ctx, p, engine.Options{Strategy: strategy})
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	rec, err := pr.Record(ctx, profile.Input{IDs: sample.DrawTokens(8000, 3072, 0), Window: 511, KeepBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	rep := profile.Analyse(rec, nil)
	want := placement.PublishedShares(4, placement.PublishedActive)
	for l, s := range rep.Layers {
		t.Logf("layer %d: active %.3f %%, hot80 %.3f, union5 %.2f, lookahead %.4f", l, 100*s.Active, *s.Hot80, *s.Union5, *s.CosLookahead)
		if math.Abs(s.Active/want[l]-1) > 0.1 {
			t.Errorf("layer %d: got %.3f %% active, want %.3f %%", l, 100*s.Active, 100*want[l])
		}
		if math.Abs(*s.Hot80/0.26-1) > 0.1 {
			t.Errorf("layer %d: %.1f %% give 80 %% of the activations, want 26 %%", l, 100**s.Hot80)
		}
		if *s.Union5 < 2.6 || *s.Union5 > 3.9 {
			t.Errorf("layer %d: five tokens have %.2f sets of one, want 2.9 to 3.5 within a tenth", l, *s.Union5)
		}
		if *s.CosLookahead < 0.985 {
			t.Errorf("layer %d: got a lookahead cosine of %.4f, want 0.99", l, *s.CosLookahead)
		}
		if c := s.CosPrevious; c != nil && *c < 0.98 {
			t.Errorf("layer %d: got a cosine of %.4f with the layer before, want 0.99", l, *c)
		}
	}
	if math.Abs(rep.Mean.Active/placement.PublishedActive-1) > 0.05 {
		t.Errorf("got a mean of %.3f %% active, want 3.3 %%", 100*rep.Mean.Active)
	}
}

// A predictor of the basis's rank explains as much of the pre-activations as
// it should, and few bits of the weights find the active neurons among three
// times as many.
func TestPredictability(t *testing.T) {
	o := medium(2)
	m := newModel(o)
	defer m.cpu.Close()
	if err := m.layer(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	// The second layer, stopped where its neurons have their inputs.
	m.attention(1)
	d, ffn := o.Profile.HiddenSize, o.Profile.FFN
	m.draw(m.weights.first, m.space.neurons(tensorOf(1, partUp)), ffn)
	m.norm()
	exact := device.NewAct(judged, ffn)
	m.cpu.Linear(exact, m.in.Top(judged), f16Mat(m.weights.first, ffn, d), nil)
	m.cpu.Linear(m.hidden, m.in, f16Mat(m.weights.first, ffn, d), nil)
	m.fire(m.weights.firstBias, shuffled(frequencies(ffn, m.active[1], m.hot), o.Seed, 1))

	rows := make([]float32, ffn*d)
	tensor.Decode(rows, m.weights.first, tensor.F16)
	bias := make([]float32, ffn)
	tensor.Decode(bias, m.weights.firstBias, tensor.F16)

	kept := slices.Clone(rows)
	for i := range ffn {
		project(m.space, kept[i*d:(i+1)*d])
	}
	r2, recall := m.judge(exact, kept, bias)
	t.Logf("rank %d: R2 %.3f, recall %.4f", m.space.rank, r2, recall)
	if s := beta*kappa + 1 - beta; math.Abs(r2-beta*kappa/s) > 0.05 || recall < 0.95 {
		t.Errorf("low rank: got R2 %.3f and recall %.4f, want %.3f and 0.95", r2, recall, beta*kappa/s)
	}
	least := map[int]float64{1: 0.9, 2: 0.97, 3: 0.99, 4: 0.995}
	before := 0.0
	for bits := 1; bits <= 4; bits++ {
		kept := slices.Clone(rows)
		for i := range ffn {
			sketch(kept[i*d:(i+1)*d], bits)
		}
		r2, recall := m.judge(exact, kept, bias)
		t.Logf("%d bits: R2 %.3f, recall %.4f", bits, r2, recall)
		if recall < least[bits] || recall < before {
			t.Errorf("%d bits: got recall %.4f after %.4f, want at least %v", bits, recall, before, least[bits])
		}
		before = recall
	}
}

// judged is how many tokens predictors are judged on.
const judged = 256

// judge compares what approximate rows give with the exact pre-activations: the
// share of the variance that they explain, and the share of active neurons
// found among three times as many of the highest scores of each token.
func (m *model) judge(exact device.Act, rows, bias []float32) (r2, recall float64) {
	b := make([]byte, 2*len(rows))
	tensor.Encode(b, rows, tensor.F16)
	score := device.NewAct(exact.Rows, exact.Cols)
	m.cpu.Linear(score, m.in.Top(judged), f16Mat(b, exact.Cols, m.in.Cols), nil)
	var xx, yy, xy, found, all float64
	order := make([]int, exact.Cols)
	for t := range exact.Rows {
		e, s := exact.Row(t), score.Row(t)
		active := 0
		for i := range e {
			x, y := float64(e[i]), float64(s[i])
			xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
			if m.hidden.Row(t)[i] > 0 {
				active++
			}
			s[i] += bias[i]
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			if s[a] > s[b] {
				return -1
			}
			return 1
		})
		for _, i := range order[:3*active] {
			if m.hidden.Row(t)[i] > 0 {
				found++
			}
		}
		all += float64(active)
	}
	return xy * xy / (xx * yy), found / all
}

// project leaves of v what lies in the basis.
func project(s *space, v []float32) {
	out := make([]float32, len(v))
	for j := range s.rank {
		var product float32
		for i, e := range v {
			product += e * s.basis[i*s.rank+j]
		}
		for i := range out {
			out[i] += product * s.basis[i*s.rank+j]
		}
	}
	copy(v, out)
}

// sketch rounds v to 2^bits levels, evenly spaced around zero, with the spacing
// that is best for normal values (J. Max, "Quantizing for minimum distortion",
// 1960, table II).
func sketch(v []float32, bits int) {
	spacing := []float64{1: 1.596, 2: 0.9957, 3: 0.586, 4: 0.3352}[bits]
	square := 0.0
	for _, e := range v {
		square += float64(e) * float64(e)
	}
	step := spacing * math.Sqrt(square/float64(len(v)))
	top := float64(int(1)<<(bits-1)) - 0.5
	for i, e := range v {
		level := math.Floor(float64(e)/step) + 0.5
		v[i] = float32(step * min(max(level, -top), top))
	}
}
