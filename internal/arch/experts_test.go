package arch

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// goldenFamily is the folder of a family's checkpoint that the reference
// implementation wrote.
func goldenFamily(t *testing.T, name string) string {
	t.Helper()
	for _, at := range []string{"../../testdata/families", "../../testdata/experts", "../../../shared/golden/families"} {
		dir := filepath.Join(at, name)
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skipf("no golden checkpoint %s beside the repository", name)
	return ""
}

// read is the profile and the mapping of a checkpoint.
func read(t *testing.T, dir string) (config.ModelProfile, *source.Checkpoint, *Mapping) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ProfileFromTransformers(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := source.Open(os.DirFS(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := Map(c, p, dir)
	if err != nil {
		t.Fatal(err)
	}
	return p, c, m
}

// Of every golden checkpoint with experts all that the profile wants is there, all
// that is there is used, and the experts are those of the reference.
func TestGoldenExperts(t *testing.T) {
	softmax := config.Router{Kind: config.RouterSoftmax, Normalize: true}
	for name, want := range map[string]struct {
		moe    config.MoE
		dense  []int // layers without experts
		change func(*config.ModelProfile)
	}{
		"qwen3-moe": {config.MoE{Experts: 16, TopK: 4, Width: 48, Router: softmax}, []int{1}, func(p *config.ModelProfile) {
			p.Layers, p.HeadSize, p.QKNorm = 4, 32, config.QKNormPerHead
		}},
		"qwen2-moe": {config.MoE{Experts: 8, TopK: 2, Width: 32, Router: config.Router{Kind: config.RouterSoftmax}, Shared: 64, SharedGate: true}, nil, func(p *config.ModelProfile) {
			p.QKVBias = true
		}},
		"olmoe": {config.MoE{Experts: 8, TopK: 3, Width: 32, Router: config.Router{Kind: config.RouterSoftmax}}, nil, func(p *config.ModelProfile) {
			p.KVHeads, p.FFN, p.NormEps, p.QKNorm, p.QKVClip = 4, 32, 1e-5, config.QKNormWhole, 1
		}},
		"mixtral": {config.MoE{Experts: 4, TopK: 2, Width: 96, Router: softmax}, nil, func(p *config.ModelProfile) {
			p.Layers, p.NormEps, p.Kinds[0].RoPE.Theta = 2, 1e-5, 1e6
		}},
		"gpt-oss": {config.MoE{Experts: 8, TopK: 2, Width: 64, Bias: true, Router: config.Router{Kind: config.RouterSoftmaxChosen, Bias: true}}, nil, func(p *config.ModelProfile) {
			p.Layers, p.HeadSize, p.FFN, p.NormEps, p.MaxPositions, p.Activation, p.Sinks = 4, 32, 64, 1e-5, 256, config.ClampedSwiGLU, true
			p.QKVBias, p.OutBias = true, true
			yarn := config.RoPE{
				Theta: 150000, Dims: 32, Scaling: config.RoPEYaRN, Factor: 8, Original: 32, BetaFast: 32, BetaSlow: 1,
				Unrounded: true, Magnitude: 0.1*math.Log(8) + 1,
			}
			p.Kinds, p.KindOf = []config.LayerKind{{Window: 8, RoPE: yarn}, {RoPE: yarn}}, []int{0, 1, 0, 1}
		}},
		"glm4-moe": {config.MoE{Experts: 16, TopK: 4, Width: 32, Shared: 32, Router: config.Router{
			Kind: config.RouterSigmoid, ScoreBias: true, Normalize: true, Epsilon: 1e-20, Scale: 1.5,
		}}, []int{0}, func(p *config.ModelProfile) {
			p.HeadSize, p.NormEps, p.QKNorm, p.QKVBias = 32, 1e-5, config.QKNormPerHead, true
			p.Kinds[0].RoPE.Dims = 16
		}},
		"minimax-m2": {config.MoE{Experts: 16, TopK: 4, Width: 32, Router: config.Router{Kind: config.RouterSigmoid, ScoreBias: true, Normalize: true}}, nil, func(p *config.ModelProfile) {
			p.Layers, p.HeadSize, p.FFN, p.QKNorm = 2, 32, 32, config.QKNormWhole
			p.Kinds[0].RoPE.Theta, p.Kinds[0].RoPE.Dims = 5e6, 16
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, m := read(t, goldenFamily(t, name))
			if len(m.Notices) > 0 || len(m.Experts) != p.Layers {
				t.Errorf("got experts of %d layers and notices %q, want %d and none", len(m.Experts), m.Notices, p.Layers)
			}
			used := map[string]bool{}
			for _, x := range m.Resident {
				used[x.Name] = true
			}
			for i, x := range m.Experts {
				if got := p.MoE(i); slices.Contains(want.dense, i) != (got == config.MoE{}) || got.Experts > 0 && got != want.moe {
					t.Errorf("layer %d: got %+v, want %+v", i, got, want.moe)
				}
				checkExperts(t, p, i, x, used)
			}
			elements := int64(0)
			for _, name := range c.Names() {
				elements += elementsOf(c, name)
				if name = strings.TrimSuffix(name, "_scales"); !used[name] && !used[name+"_blocks"] {
					t.Errorf("got tensor %s that nothing uses", name)
				}
			}
			all, active := p.Weights()
			if all != elements || active >= all {
				t.Errorf("got %d weights, %d of them for a token, want %d and fewer", all, active, elements)
			}
			w := config.ModelProfile{
				Family: strings.ReplaceAll(name, "-", "_"), VocabSize: 320, EmbedDim: 64, HiddenSize: 64, Layers: 3, Heads: 4, KVHeads: 2,
				HeadSize: 16, FFN: 96, NeuronParts: 3, MaxPositions: 128, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-6,
				NormAffine: true, PreNorm: true, FinalNorm: true, BOS: 1, PAD: 0, EOS: []int32{2}, Kinds: make([]config.LayerKind, 1),
			}
			w.Kinds[0].RoPE.Theta = 1e4
			want.change(&w)
			if r := &w.Kinds[0].RoPE; r.Dims == 0 {
				r.Dims = w.HeadSize
			}
			for i := range w.Layers {
				got, want := p.Kind(i), w.Kind(i)
				if got.MoE = (config.MoE{}); got != want {
					t.Errorf("layer %d: got %+v, want %+v", i, got, want)
				}
			}
			p.Kinds, p.KindOf, w.Kinds, w.KindOf = nil, nil, nil, nil
			if d := cmp.Diff(w, p); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// elementsOf is how many weights a tensor holds; bytes hold two but for scales.
func elementsOf(c *source.Checkpoint, name string) int64 {
	x, _ := c.Tensor(name)
	n := int64(1)
	for _, d := range x.Shape {
		n *= d
	}
	switch {
	case strings.HasSuffix(name, "_scales"):
		return 0
	case x.Stored == "U8":
		return 2 * n
	}
	return n
}

// The published counts of Qwen3-30B-A3B and gpt-oss-20b, whose 3.6 billion active ones
// are without the embedding.
func TestWeights(t *testing.T) {
	for _, c := range []struct {
		config      string
		all, active int64
	}{
		{`{"model_type": "qwen3_moe", "num_hidden_layers": 48, "head_dim": 128, "norm_topk_prob": true}`, 30532122624, 3353032704},
		{`{"model_type": "gpt_oss", "num_hidden_layers": 24, "num_local_experts": 32}`, 20914757184, 3608307264 + 201088*2880},
	} {
		p, err := ProfileFromTransformers([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if all, active := p.Weights(); all != c.all || active != c.active {
			t.Errorf("%s: got %d weights, %d of them for a token, want %d and %d", c.config, all, active, c.all, c.active)
		}
	}
}

// checkExperts wants every part of every expert to lie within its tensor and apart
// from the others, and adds the tensors to used.
func checkExperts(t *testing.T, p config.ModelProfile, layer int, x Experts, used map[string]bool) {
	t.Helper()
	m, rows := p.MoE(layer), map[string]map[int64]bool{}
	for part, shape := range p.ExpertTensors(layer) {
		if len(x.Parts[part]) != m.Experts {
			t.Fatalf("layer %d: got %d experts, want %d", layer, len(x.Parts[part]), m.Experts)
		}
		for e, s := range x.Parts[part] {
			name := s.Tensor.Name
			used[name] = true
			if rows[name] == nil {
				rows[name] = map[int64]bool{}
			}
			all := int64(1)
			for _, n := range s.Tensor.Shape[:len(s.Tensor.Shape)-1] {
				all *= n
			}
			for i := range int64(shape.Rows) {
				row := s.First + i*s.Step
				if row >= all || rows[name][row] {
					t.Fatalf("%s of expert %d: got row %d of %s, which has %d or gives it twice", shape.Name, e, row, name, all)
				}
				rows[name][row] = true
			}
			if cols := s.Tensor.Shape[len(s.Tensor.Shape)-1]; cols != int64(shape.Cols) {
				t.Fatalf("%s of expert %d: got %d columns, want %d", shape.Name, e, cols, shape.Cols)
			}
		}
	}
}

// expertsLeast is the metadata and tensors of a GGUF model of two layers with
// experts: 4 of width 6.
func expertsLeast(architecture string) (map[string]any, map[string][]int64) {
	m := least(architecture)
	maps.Copy(m, map[string]any{
		architecture + ".expert_count": uint32(4), architecture + ".expert_used_count": uint32(2),
		architecture + ".expert_feed_forward_length": uint32(6),
	})
	tensors := embedding()
	tensors["output_norm.weight"] = []int64{8}
	for i := range 2 {
		with(tensors, i, map[string][]int64{
			"attn_norm.weight": {8}, "attn_q.weight": {8, 8}, "attn_k.weight": {8, 8}, "attn_v.weight": {8, 8}, "attn_output.weight": {8, 8},
			"ffn_norm.weight": {8}, "ffn_gate_inp.weight": {4, 8},
			"ffn_gate_exps.weight": {4, 6, 8}, "ffn_up_exps.weight": {4, 6, 8}, "ffn_down_exps.weight": {4, 8, 6},
		})
	}
	return m, tensors
}

// with makes changes to a layer.
func with(tensors map[string][]int64, layer int, change changes) {
	for name, shape := range change {
		if name = fmt.Sprintf("blk.%d.%s", layer, name); shape == nil {
			delete(tensors, name)
		} else {
			tensors[name] = shape
		}
	}
}

func expertsFile(t testing.TB, architecture string) []byte {
	meta, tensors := expertsLeast(architecture)
	return encoded(t, meta, tensors)
}

// changes are tensors of a layer by the name behind the layer's; those of no shape are
// gone.
type changes = map[string][]int64

// A ggufCase is a GGUF model with experts and what of it differs from the least.
type ggufCase struct {
	architecture string
	metadata     map[string]any
	tensors      changes // of each layer
	first        changes // of the first layer, which has no experts then
	want         func(p *config.ModelProfile, m *config.MoE)
}

func ggufExperts() map[string]ggufCase {
	norms := changes{"attn_q_norm.weight": {8}, "attn_k_norm.weight": {8}}
	post := changes{"ffn_norm.weight": nil, "post_attention_norm.weight": {8}}
	join := func(all ...changes) changes {
		to := changes{}
		for _, c := range all {
			maps.Copy(to, c)
		}
		return to
	}
	return map[string]ggufCase{
		"least":                     {"qwen3moe", nil, nil, nil, func(*config.ModelProfile, *config.MoE) {}},
		"fused":                     {"qwen3moe", nil, changes{"ffn_gate_exps.weight": nil, "ffn_up_exps.weight": nil, "ffn_gate_up_exps.weight": {4, 12, 8}}, nil, func(*config.ModelProfile, *config.MoE) {}},
		"shares of the dense width": {"qwen3moe", map[string]any{"expert_feed_forward_length": nil}, nil, nil, func(*config.ModelProfile, *config.MoE) {}},
		"a list of widths":          {"qwen3moe", map[string]any{"expert_feed_forward_length": []uint32{6, 6}}, nil, nil, func(*config.ModelProfile, *config.MoE) {}},
		"no dense width":            {"qwen3moe", map[string]any{"feed_forward_length": nil}, nil, nil, func(p *config.ModelProfile, _ *config.MoE) { p.FFN = 6 }},
		"keys": {"qwen3moe", map[string]any{"expert_gating_func": uint32(2), "expert_weights_norm": false, "expert_weights_scale": float32(2.5), "expert_group_count": uint32(2), "expert_group_used_count": uint32(1)}, nil, nil,
			func(_ *config.ModelProfile, m *config.MoE) {
				m.Router = config.Router{Kind: config.RouterSigmoid, Scale: 2.5, Groups: 2, TopGroups: 1}
			}},
		"qwen2": {"qwen2moe", nil, changes{"ffn_gate_inp_shexp.weight": {8}, "ffn_gate_shexp.weight": {10, 8}, "ffn_up_shexp.weight": {10, 8}, "ffn_down_shexp.weight": {8, 10}, "attn_q.bias": {8}, "attn_k.bias": {8}, "attn_v.bias": {8}}, nil,
			func(p *config.ModelProfile, m *config.MoE) {
				p.Family, p.QKVBias, m.Router.Normalize, m.Shared, m.SharedGate = "qwen2_moe", true, false, 10, true
			}},
		"olmoe": {"olmoe", map[string]any{"expert_feed_forward_length": nil, "feed_forward_length": uint32(6), "attention.clamp_kqv": float32(8)}, norms, nil,
			func(p *config.ModelProfile, m *config.MoE) {
				p.Family, p.FFN, p.QKNorm, p.QKVClip, m.Router.Normalize = "olmoe", 6, config.QKNormWhole, 8, false
			}},
		"joined": {"qwen3moe", map[string]any{"attention.head_count_kv": uint32(1)}, changes{"attn_q.weight": nil, "attn_k.weight": nil, "attn_v.weight": nil, "attn_qkv.weight": {16, 8}, "attn_qkv.bias": {16}}, nil,
			func(p *config.ModelProfile, _ *config.MoE) { p.KVHeads, p.QKVBias = 1, true }},
		"mixtral": {"llama", map[string]any{"expert_feed_forward_length": nil, "feed_forward_length": uint32(6)}, nil, nil,
			func(p *config.ModelProfile, _ *config.MoE) {
				p.Family, p.FFN, p.Kinds[0].RoPE.Interleaved = "llama", 6, true
			}},
		"mixtral of old": {"llama", map[string]any{"expert_feed_forward_length": nil, "feed_forward_length": uint32(6)}, changes{
			"ffn_gate_exps.weight": nil, "ffn_up_exps.weight": nil, "ffn_down_exps.weight": nil,
			"ffn_gate.0.weight": {6, 8}, "ffn_gate.1.weight": {6, 8}, "ffn_gate.2.weight": {6, 8}, "ffn_gate.3.weight": {6, 8},
			"ffn_up.0.weight": {6, 8}, "ffn_up.1.weight": {6, 8}, "ffn_up.2.weight": {6, 8}, "ffn_up.3.weight": {6, 8},
			"ffn_down.0.weight": {8, 6}, "ffn_down.1.weight": {8, 6}, "ffn_down.2.weight": {8, 6}, "ffn_down.3.weight": {8, 6},
		}, nil, func(p *config.ModelProfile, _ *config.MoE) {
			p.Family, p.FFN, p.Kinds[0].RoPE.Interleaved = "llama", 6, true
		}},
		"gpt-oss": {"gpt-oss", map[string]any{"attention.sliding_window": uint32(16), "rope.scaling.type": "yarn", "rope.scaling.factor": float32(32), "rope.scaling.original_context_length": uint32(4), "expert_weights_norm": nil}, join(post, changes{
			"attn_q.bias": {8}, "attn_k.bias": {8}, "attn_v.bias": {8}, "attn_output.bias": {8}, "attn_sinks.weight": {2}, "ffn_gate_inp.bias": {4},
			"ffn_gate_exps.bias": {4, 6}, "ffn_up_exps.bias": {4, 6}, "ffn_down_exps.bias": {4, 8},
		}), nil, func(p *config.ModelProfile, m *config.MoE) {
			p.Family, p.Activation, p.Sinks, p.QKVBias, p.OutBias = "gpt_oss", config.ClampedSwiGLU, true, true, true
			m.Bias, m.Router = true, config.Router{Kind: config.RouterSoftmaxChosen, Bias: true}
			full := config.RoPE{Theta: 1e4, Dims: 4, Scaling: config.RoPEYaRN, Factor: 32, Original: 4, BetaFast: 32, BetaSlow: 1, Unrounded: true, Magnitude: 0.1*math.Log(32) + 1}
			p.Kinds, p.KindOf = []config.LayerKind{{Window: 16, RoPE: full}, {RoPE: full}}, []int{0, 1}
		}},
		"glm4": {"glm4moe", map[string]any{"block_count": uint32(3), "nextn_predict_layers": uint32(1), "leading_dense_block_count": uint32(1), "expert_shared_count": uint32(1), "expert_weights_norm": true, "expert_weights_scale": float32(1), "rope.dimension_count": uint32(2)}, join(post, changes{
			"attn_q.bias": {8}, "attn_k.bias": {8}, "attn_v.bias": {8}, "exp_probs_b.bias": {4},
			"ffn_gate_shexp.weight": {6, 8}, "ffn_up_shexp.weight": {6, 8}, "ffn_down_shexp.weight": {8, 6},
		}), changes{
			"exp_probs_b.bias": nil, "ffn_gate_shexp.weight": nil, "ffn_up_shexp.weight": nil, "ffn_down_shexp.weight": nil, "ffn_gate_inp.weight": nil,
			"ffn_gate_exps.weight": nil, "ffn_up_exps.weight": nil, "ffn_down_exps.weight": nil,
			"ffn_gate.weight": {12, 8}, "ffn_up.weight": {12, 8}, "ffn_down.weight": {8, 12},
		}, func(p *config.ModelProfile, m *config.MoE) {
			p.Family, p.QKVBias, m.Shared, p.Kinds[0].RoPE.Dims = "glm4_moe", true, 6, 2
			m.Router = config.Router{Kind: config.RouterSigmoid, ScoreBias: true, Normalize: true, Epsilon: 1e-20}
			p.Kinds, p.KindOf = append(p.Kinds, p.Kinds[0]), []int{0, 1}
		}},
		"minimax": {"minimax-m2", map[string]any{"expert_gating_func": uint32(2), "rope.dimension_count": uint32(2)}, join(norms, changes{"exp_probs_b.bias": {4}}), nil,
			func(p *config.ModelProfile, m *config.MoE) {
				p.Family, p.QKNorm, p.Kinds[0].RoPE.Dims = "minimax_m2", config.QKNormWhole, 2
				m.Router.Kind, m.Router.ScoreBias = config.RouterSigmoid, true
			}},
	}
}

// GGUF models with experts are read as their architecture has it, and everything in
// them is used.
func TestGGUFExperts(t *testing.T) {
	for name, x := range ggufExperts() {
		t.Run(name, func(t *testing.T) {
			meta, tensors := expertsLeast(x.architecture)
			for key, v := range x.metadata {
				if meta[x.architecture+"."+key] = v; v == nil {
					delete(meta, x.architecture+"."+key)
				}
			}
			for i := range 2 {
				with(tensors, i, x.tensors)
			}
			with(tensors, 0, x.first)
			if x.architecture == "glm4moe" {
				tensors["blk.2.nextn.eh_proj.weight"] = []int64{8, 16}
			}
			c := opened(t, encoded(t, meta, tensors))
			got, err := ReadGGUF(c)
			if err != nil {
				t.Fatal(err)
			}
			want := config.ModelProfile{
				Family: "qwen3_moe", VocabSize: 50, EmbedDim: 8, HiddenSize: 8, Layers: 2, Heads: 2, KVHeads: 2, HeadSize: 4, FFN: 12,
				NeuronParts: 3, MaxPositions: 64, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-5, NormAffine: true,
				PreNorm: true, FinalNorm: true, TiedHead: true, BOS: -1, PAD: -1, Kinds: []config.LayerKind{{RoPE: config.RoPE{Theta: 1e4, Dims: 4}}},
			}
			moe := config.MoE{Experts: 4, TopK: 2, Width: 6, Router: config.Router{Kind: config.RouterSoftmax, Normalize: true}}
			x.want(&want, &moe)
			for i := range want.Kinds {
				if x.first == nil || i > 0 {
					want.Kinds[i].MoE = moe
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			m, err := Map(c, got, "m.gguf")
			if err != nil {
				t.Fatal(err)
			}
			used := map[string]bool{"blk.2.nextn.eh_proj.weight": true}
			for _, r := range m.Resident {
				used[r.Name] = true
			}
			for i, e := range m.Experts {
				checkExperts(t, got, i, e, used)
			}
			for name := range tensors {
				if !used[name] {
					t.Errorf("got tensor %s that nothing uses", name)
				}
			}
			if len(m.Notices) > 0 {
				t.Errorf("got notices %q, want none", m.Notices)
			}
		})
	}
}

// What metadata and tensors disagree about is refused in one line that names it.
func TestGGUFExpertsErrors(t *testing.T) {
	for _, c := range []struct {
		key    string
		value  any
		tensor string
		shape  []int64 // nil: none
		want   string
	}{
		{"expert_count", uint32(5), "", nil, `tensor "blk.0.ffn_gate_inp.weight" (layers.0.moe.router.weight): got shape [4 8], want [5 8] by its metadata`},
		{"expert_count", uint32(1 << 20), "", nil, "got 1048576 experts, want 1 to 16384"},
		{"expert_count", nil, "", nil, "got qwen3moe.expert_count <nil>, want a whole number"},
		{"expert_used_count", uint32(5), "", nil, "got 5 experts for each token, want 1 to the layer's 4"},
		{"expert_used_count", uint32(0), "", nil, "got 0 experts for each token, want 1 to the layer's 4"},
		{"expert_feed_forward_length", uint32(1 << 30), "", nil, "got experts of 1073741824 neurons, want 1 to 1048576"},
		{"expert_feed_forward_length", uint32(7), "", nil, `tensor "blk.0.ffn_gate_exps.weight" (layers.0.moe.experts.gate): got shape [4 6 8], want [4 7 8] by its metadata`},
		{"expert_gating_func", uint32(9), "", nil, "got qwen3moe.expert_gating_func 9, want 1 to 3"},
		{"expert_weights_norm", "yes", "", nil, "got qwen3moe.expert_weights_norm yes, want true or false"},
		{"", nil, "blk.1.ffn_down_exps.weight", nil, `got no tensor "blk.1.ffn_down_exps.weight" (layers.1.moe.experts.down) in m.gguf, want one of shape [4 8 6] by its metadata`},
		{"", nil, "blk.1.ffn_up_exps.weight", nil, `got no tensor "blk.1.ffn_up_exps.weight"`},
		{"", nil, "blk.1.ffn_gate_inp.weight", nil, `got no tensor "blk.1.ffn_gate_inp.weight"`},
		{"", nil, "blk.1.ffn_up_exps.weight", []int64{3, 6, 8}, `tensor "blk.1.ffn_up_exps.weight" (layers.1.moe.experts.up): got shape [3 6 8], want [4 6 8]`},
		{"block_count", uint32(0), "", nil, "got layers 0"},
		{"nextn_predict_layers", uint32(2), "", nil, "got layers 0"},
	} {
		meta, tensors := expertsLeast("qwen3moe")
		if c.key != "" {
			if meta["qwen3moe."+c.key] = c.value; c.value == nil {
				delete(meta, "qwen3moe."+c.key)
			}
		}
		if c.tensor != "" {
			if tensors[c.tensor] = c.shape; c.shape == nil {
				delete(tensors, c.tensor)
			}
		}
		ckpt := opened(t, encoded(t, meta, tensors))
		p, err := ReadGGUF(ckpt)
		if err == nil {
			_, err = Map(ckpt, p, "m.gguf")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v %s: got %v, want %q", c.key, c.value, c.tensor, err, c.want)
		}
	}
}

// Experts where an architecture has none are refused.
func TestGGUFExpertsUnknown(t *testing.T) {
	const want = "got qwen3.expert_count 4, want 0: experts are not supported yet in models of architecture qwen3"
	if _, err := ReadGGUF(opened(t, expertsFile(t, "qwen3"))); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
