package placement

import (
	"errors"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// profile is an OPT model of these sizes.
func profile(vocab, d, layers, ffn, positions int) config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: vocab, EmbedDim: d, HiddenSize: d, Layers: layers, Heads: 2, KVHeads: 2, FFN: ffn,
		NeuronParts: 2, LearnedPositions: true, MaxPositions: positions, PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm,
		NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true, TiedHead: true,
		BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// layoutOf is the layout of a model's pack.
func layoutOf(t rapid.TB, p config.ModelProfile) *pack.Layout {
	t.Helper()
	l, err := pack.Spec{Profile: p, Name: "m", Attn: tensor.F16, MLP: tensor.F16, Align: 512,
		Tokenizer: map[string][]byte{"vocab.json": []byte(`{"a":0}`)}}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// drawLayout is the layout of any small model: also of one whose biases and
// sketches are larger than its matrices, or whose layers have one neuron.
func drawLayout(t *rapid.T) *pack.Layout {
	if rapid.IntRange(0, 2).Draw(t, "with experts") == 0 {
		return drawExperts(t)
	}
	small := rapid.IntRange(1, 40)
	p := profile(rapid.IntRange(3, 5000).Draw(t, "vocab"), 2*small.Draw(t, "d / 2"), rapid.IntRange(1, 5).Draw(t, "layers"),
		rapid.SampledFrom([]int{1, 10, 300, 3000}).Draw(t, "ffn")+small.Draw(t, "ffn"), rapid.IntRange(1, 3000).Draw(t, "positions"))
	if rapid.Bool().Draw(t, "projected") {
		p.EmbedDim = small.Draw(t, "embedding")
	}
	p.Bias, p.NormAffine = rapid.Bool().Draw(t, "bias"), rapid.Bool().Draw(t, "affine")
	p.PreNorm, p.TiedHead = rapid.Bool().Draw(t, "pre-norm"), rapid.Bool().Draw(t, "tied")
	p.FinalNorm = p.PreNorm
	p.Activation = rapid.SampledFrom([]config.Activation{config.ReLU, config.ReLU, config.GELU}).Draw(t, "activation")
	return layoutOf(t, p)
}

// drawExperts is the layout of any small model with experts, some of whose layers may
// be dense and whose experts differ in type from layer to layer.
func drawExperts(t *rapid.T) *pack.Layout {
	e := rapid.IntRange(1, 40).Draw(t, "experts")
	p := moeProfile(rapid.IntRange(1, 6).Draw(t, "layers"), e, rapid.IntRange(1, e).Draw(t, "top k"), 32*rapid.IntRange(1, 20).Draw(t, "width"))
	for l := range p.Layers {
		p.KindOf = append(p.KindOf, rapid.IntRange(0, 1).Draw(t, "kind"))
		if l == 0 {
			p.KindOf[0] = 0 // one at least has experts
		}
	}
	p.Kinds[0].MoE.Shared = 32 * rapid.IntRange(0, 2).Draw(t, "shared")
	p.TiedHead = rapid.Bool().Draw(t, "tied")
	types := make(map[string]tensor.DType)
	for l := range p.Layers {
		if x := p.ExpertTensors(l); len(x) > 0 && rapid.Bool().Draw(t, "wide") {
			types[x[2].Name] = tensor.Q8_0
		}
	}
	l, err := pack.Spec{Profile: p, Name: "m", Attn: tensor.F16, MLP: tensor.Q4_0, Types: types,
		Tokenizer: map[string][]byte{"vocab.json": []byte(`{"a":0}`)}}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// moeProfile is a model of so many layers with experts; kind 1 has none.
func moeProfile(layers, experts, topK, width int) config.ModelProfile {
	return config.ModelProfile{
		Family: "qwen3_moe", VocabSize: 300, EmbedDim: 64, HiddenSize: 64, Layers: layers, Heads: 2, KVHeads: 2, FFN: 96,
		NeuronParts: 3, MaxPositions: 2000, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-6, NormAffine: true,
		PreNorm: true, FinalNorm: true, BOS: -1, PAD: -1, EOS: []int32{2},
		Kinds: []config.LayerKind{
			{RoPE: config.RoPE{Dims: 32, Theta: 1e4}, MoE: config.MoE{Experts: experts, TopK: topK, Width: width, Router: config.Router{Kind: config.RouterSoftmax}}},
			{RoPE: config.RoPE{Dims: 32, Theta: 1e4}},
		},
	}
}

// scratch is activations of n bytes per token.
func scratch(n int64) func(int) int64 {
	return func(chunk int) int64 { return memory.PieceBytes(1000 + int64(chunk)*n) }
}

// with is an input for a layout whose layers are in the strategy's mode, with
// predictors of n bytes.
func with(l *pack.Layout, mode config.Mode, n int64) Input {
	in := Input{Layout: l, ScratchBytes: scratch(100), Processors: 1}
	for _, active := range PublishedShares(l.Profile().Layers, PublishedActive) {
		in.Layers = append(in.Layers, Layer{Active: active, Computed: 2 * active, PredictorBytes: n})
	}
	return in.mode(mode)
}

// mode sets the mode of all layers, for auto to predicted.
func (in Input) mode(m config.Mode) Input {
	in.Strategy.Mode = m
	switch {
	case !in.Layout.Profile().Sparse():
		m = config.Dense
	case m == "" || m == config.Auto:
		m = config.Predicted
	}
	in.Layers = slices.Clone(in.Layers)
	for l := range in.Layers {
		in.Layers[l].Mode = m
	}
	return in
}

// drawInput is an input without a budget or a ratio.
func drawInput(t *rapid.T, l *pack.Layout) Input {
	mode := rapid.SampledFrom([]config.Mode{"", config.Auto, config.Dense, config.Gate, config.Predicted}).Draw(t, "mode")
	in := with(l, mode, 64*rapid.SampledFrom([]int64{0, 1, 100, 5000}).Draw(t, "predictor"))
	in.ScratchBytes = scratch(rapid.SampledFrom([]int64{0, 100, 40 << 10, 1 << 20}).Draw(t, "scratch"))
	in.BackendBytes = scratch(rapid.SampledFrom([]int64{0, 10, 20 << 10}).Draw(t, "backend"))
	in.Processors = rapid.IntRange(1, 64).Draw(t, "processors")
	if rapid.Bool().Draw(t, "heap") {
		for l := range in.Layers {
			in.Layers[l].HeapBytes = in.Layers[l].PredictorBytes / 2 &^ 63
		}
	}
	in.Strategy.KV = rapid.SampledFrom([]tensor.DType{tensor.F32, tensor.F16}).Draw(t, "kv")
	if layout := l.Profile(); layout.Sparse() && in.Strategy.Mode != config.Dense && rapid.Bool().Draw(t, "by layer") {
		for l := range in.Layers {
			in.Layers[l].Mode = rapid.SampledFrom([]config.Mode{config.Gate, config.Predicted}).Draw(t, "layer's mode")
		}
	}
	in.Strategy.Context = rapid.IntRange(0, in.Layout.Profile().MaxPositions).Draw(t, "ctx")
	return in
}

// budget sets the budget as a share of the weights or in bytes.
func (in Input) budget(b config.Budget) Input {
	in.Strategy.Budget = b
	return in
}

// ratio sets the gpu-cache-ratio.
func (in Input) ratio(r float64) Input {
	in.Strategy.GPUCacheRatio = config.Ratio(r)
	return in
}

func (in Input) async() Input {
	in.Strategy.AsyncTransfer = true
	return in
}

func mustPlan(t rapid.TB, in Input) *Placement {
	t.Helper()
	p, err := Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantTooSmall is the error of a plan that must fail for its budget, and the
// plan.
func wantTooSmall(t rapid.TB, in Input) (*Placement, *BudgetError) {
	t.Helper()
	p, err := Plan(in)
	var e *BudgetError
	if !errors.As(err, &e) || p == nil || p.Fits {
		t.Fatalf("budget %v: got %v, want a BudgetError with a placement that does not fit", in.Strategy.Budget, err)
	}
	if p.Process.MinimumBytes <= 0 || len(p.Tiers) == 0 {
		t.Fatalf("budget %v: got a placement without minimum or tiers: %+v", in.Strategy.Budget, p)
	}
	return p, e
}

// given is what a placement gives out, step by step.
type given struct{ predictors, matrices, slots, tables int64 }

func givenOut(in Input, p *Placement) (g given) {
	for l, here := range p.Predicted {
		if here {
			g.predictors += in.Layers[l].PredictorBytes
		}
	}
	for _, x := range in.Layout.Tensors() {
		switch {
		case !p.Resident[x.Name]:
		case x.Name == "embed.positions" || x.Name == "embed.tokens" && !in.Layout.Profile().TiedHead:
			g.tables += memory.PieceBytes(x.Bytes())
		default:
			g.matrices += memory.PieceBytes(x.Bytes())
		}
	}
	for l, n := range p.Slots {
		g.slots += int64(n) * slotBytes(in.Layout, l)
	}
	return g
}

func (g given) total() int64 { return g.predictors + g.matrices + g.slots + g.tables }

// slotBytes is the size of a slot of a layer, and unitsOf how many it has use for.
func slotBytes(m *pack.Layout, l int) int64 {
	if m.Profile().Experts() > 0 {
		return m.ExpertRoom(l)
	}
	return m.BundleStride()
}

func unitsOf(m *pack.Layout, l int) int {
	if p := m.Profile(); p.Experts() > 0 {
		return p.MoE(l).Experts
	}
	return m.Profile().BundledNeurons()
}

// allSlots is the size of n slots in all layers, fewer in those that have fewer units.
func allSlots(m *pack.Layout, n int) (bytes int64) {
	for l := range m.Profile().Layers {
		bytes += int64(min(n, unitsOf(m, l))) * slotBytes(m, l)
	}
	return bytes
}

// vectors is the size of norms and biases.
func vectors(m *pack.Layout) (n int64) {
	for _, x := range m.Tensors() {
		if x.Kind == pack.Vector {
			n += memory.PieceBytes(x.Bytes())
		}
	}
	return n
}

func hasNotice(p *Placement, words string) bool {
	return strings.Contains(strings.Join(p.Notices, "\n"), words)
}

// expertInput is 4 layers of which the last but one is dense, with 32 experts.
func expertInput(t rapid.TB) Input {
	t.Helper()
	p := moeProfile(4, 32, 4, 64)
	p.KindOf = []int{0, 0, 1, 0}
	l, err := pack.Spec{Profile: p, Name: "m", Attn: tensor.F16, MLP: tensor.Q4_0}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return with(l, "", 0)
}

// matricesOf is the sizes of the matrices that every token needs in full.
func matricesOf(m *pack.Layout) (all []int64) {
	for _, x := range m.Tensors() {
		if x.Kind == pack.Matrix && (x.Name != "embed.tokens" || m.Profile().TiedHead) {
			all = append(all, x.Bytes())
		}
	}
	return all
}
