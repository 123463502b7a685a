package arch

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// drawn is a config.json of sizes that all decoders call the same, and more.
func drawn(modelType string, more map[string]any) []byte {
	m := map[string]any{
		"model_type": modelType, "vocab_size": 64, "hidden_size": 48, "num_hidden_layers": 4, "intermediate_size": 96,
		"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
	}
	maps.Copy(m, more)
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

type object = map[string]any

// Each version of transformers' way to say a thing is understood.
func TestDecoders(t *testing.T) {
	full := func(theta float64) config.RoPE { return config.RoPE{Theta: theta, Dims: 16} }
	gemma := func(sliding, full config.RoPE, kinds ...int) func(*config.ModelProfile) {
		return func(p *config.ModelProfile) {
			p.Kinds, p.KindOf = []config.LayerKind{{RoPE: full}, {Window: 32, RoPE: sliding}}, kinds
		}
	}
	rope := func(r config.RoPE) func(*config.ModelProfile) {
		return func(p *config.ModelProfile) { p.Kinds = []config.LayerKind{{RoPE: r}} }
	}
	yarn := config.RoPE{Theta: 1e6, Dims: 16, Scaling: config.RoPEYaRN, Factor: 4, Original: 32, BetaFast: 32, BetaSlow: 1, Magnitude: 0.1*math.Log(4) + 1}
	llama3 := config.RoPE{Theta: 5e5, Dims: 16, Scaling: config.RoPELlama3, Factor: 8, Original: 64, LowFreq: 1, HighFreq: 4}
	for name, c := range map[string]struct {
		family string
		more   object
		want   func(p *config.ModelProfile)
	}{
		"llama":        {"llama", nil, rope(full(1e4))},
		"theta":        {"llama", object{"rope_theta": 5e5}, rope(full(5e5))},
		"theta, now":   {"llama", object{"rope_parameters": object{"rope_type": "default", "rope_theta": 5e5}}, rope(full(5e5))},
		"no scaling":   {"llama", object{"rope_scaling": nil}, rope(full(1e4))},
		"dynamic":      {"llama", object{"rope_scaling": object{"type": "dynamic", "factor": 2.0}}, rope(full(1e4))},
		"linear":       {"llama", object{"rope_scaling": object{"type": "linear", "factor": 2.0}}, rope(config.RoPE{Theta: 1e4, Dims: 16, Scaling: config.RoPELinear, Factor: 2})},
		"llama3":       {"llama", object{"rope_theta": 5e5, "rope_scaling": object{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}}, rope(llama3)},
		"llama3, now":  {"llama", object{"rope_parameters": object{"rope_theta": 5e5, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}}, rope(llama3)},
		"yarn":         {"llama", object{"rope_theta": 1e6, "rope_scaling": object{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}, rope(yarn)},
		"partial":      {"llama", object{"partial_rotary_factor": 0.5}, rope(config.RoPE{Theta: 1e4, Dims: 8})},
		"partial, now": {"llama", object{"rope_parameters": object{"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, rope(config.RoPE{Theta: 1e4, Dims: 8})},
		"no head_dim": {"llama", object{"head_dim": nil}, func(p *config.ModelProfile) {
			p.HeadSize, p.Kinds = 12, []config.LayerKind{{RoPE: config.RoPE{Theta: 1e4, Dims: 12}}}
		}},
		"heads of keys": {"llama", object{"num_key_value_heads": nil}, func(p *config.ModelProfile) { p.KVHeads, p.Kinds = 4, []config.LayerKind{{RoPE: full(1e4)}} }},
		"biases":        {"llama", object{"attention_bias": true, "mlp_bias": true}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.QKVBias, p.OutBias, p.MLPBias = true, true, true }},
		"relu":          {"llama", object{"hidden_act": "relu"}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.Activation = config.ReLU }},
		"fatrelu":       {"llama", object{"hidden_act": "fatrelu", "hidden_act_param": 0.01}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.Activation, p.Threshold = config.FATReLU, 0.01 }},
		"tied":          {"llama", object{"tie_word_embeddings": true}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.TiedHead = true }},
		"fp8":           {"llama", object{"quantization_config": object{"quant_method": "fp8", "weight_block_size": []int{128, 128}}}, rope(full(1e4))},
		"synthetic":     {"llama", object{SyntheticKey: true}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.Synthetic = true }},
		"mistral":       {"mistral", object{"sliding_window": 9}, func(p *config.ModelProfile) { p.Kinds = []config.LayerKind{{Window: 9, RoPE: full(1e4)}} }},
		"mistral's own": {"mistral", nil, func(p *config.ModelProfile) { p.Kinds = []config.LayerKind{{Window: 4096, RoPE: full(1e4)}} }},
		"mistral now":   {"mistral", object{"sliding_window": nil}, rope(full(1e4))},
		"qwen2":         {"qwen2", object{"sliding_window": 9}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.QKVBias = true }},
		"qwen2, sliding": {"qwen2", object{"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 3}, func(p *config.ModelProfile) {
			p.QKVBias, p.Kinds, p.KindOf = true, []config.LayerKind{{RoPE: full(1e4)}, {Window: 9, RoPE: full(1e4)}}, []int{0, 0, 0, 1}
		}},
		"qwen2, all sliding": {"qwen2", object{"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 0}, func(p *config.ModelProfile) {
			p.QKVBias, p.Kinds = true, []config.LayerKind{{Window: 9, RoPE: full(1e4)}}
		}},
		"qwen3":                 {"qwen3", object{"rope_theta": 1e6}, func(p *config.ModelProfile) { rope(full(1e6))(p); p.QKNorm = config.QKNormPerHead }},
		"gemma3":                {"gemma3_text", object{"sliding_window": 32, "sliding_window_pattern": 2, "rope_scaling": object{"rope_type": "linear", "factor": 8.0}}, gemma(full(1e4), config.RoPE{Theta: 1e6, Dims: 16, Scaling: config.RoPELinear, Factor: 8}, 1, 0, 1, 0)},
		"gemma3, now":           {"gemma3_text", object{"sliding_window": 32, "layer_types": []string{"full_attention", "sliding_attention", "sliding_attention", "full_attention"}, "rope_parameters": object{"full_attention": object{"rope_theta": 1e5}, "sliding_attention": object{"rope_theta": 1e3}}}, gemma(full(1e3), full(1e5), 0, 1, 1, 0)},
		"gemma3, whole":         {"gemma3", object{"text_config": object{"sliding_window": 32, "sliding_window_pattern": 4, "num_hidden_layers": 4, "model_type": "gemma3_text"}, "num_hidden_layers": 9, "sliding_window": 1}, gemma(full(1e4), full(1e6), 1, 1, 1, 0)},
		"what reads of another": {"seer", object{"text_config": object{"model_type": "mistral", "sliding_window": nil}}, func(p *config.ModelProfile) { rope(full(1e4))(p); p.Family = "mistral" }},
	} {
		want := config.ModelProfile{
			Family: strings.TrimSuffix(c.family, "_text"), VocabSize: 64, EmbedDim: 48, HiddenSize: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadSize: 16, FFN: 96,
			NeuronParts: 3, MaxPositions: 128, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-5, NormAffine: true,
			PreNorm: true, FinalNorm: true, BOS: 1, PAD: -1, EOS: []int32{2},
		}
		switch want.Family {
		case "qwen2", "qwen3":
			want.BOS, want.EOS = -1, nil
		case "gemma3":
			want.BOS, want.PAD, want.EOS, want.TiedHead, want.Activation = 2, 0, []int32{1}, true, config.GELUTanh
			want.NormOffset, want.SandwichNorm, want.QKNorm = 1, true, config.QKNormPerHead
			want.EmbedScale, want.AttnScale = float32(math.Sqrt(48)), 1.0/16
		}
		c.want(&want)
		got, err := ProfileFromTransformers(drawn(c.family, c.more))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

func TestDecoderErrors(t *testing.T) {
	for _, c := range []struct {
		family string
		more   object
		want   string
	}{
		{"llama", object{"rope_scaling": object{"type": "longrope"}}, `config: config.json: rope_scaling: got type "longrope", want default, linear, dynamic, llama3 or yarn`},
		{"llama", object{"rope_scaling": 3}, "config: config.json: got rope_scaling 3, want an object"},
		{"llama", object{"rope_theta": "big"}, `config: config.json: got rope_theta "big", want a number`},
		{"llama", object{"num_attention_heads": 0}, "config: profile: got heads 0"},
		{"llama", object{"rms_norm_eps": -1}, "config: profile: got norm_eps -1"},
		{"gemma3_text", object{"layer_types": []string{"full_attention"}}, "config: config.json: got layer_types"},
		{"gemma3_text", object{"layer_types": []string{"full_attention", "mamba", "mamba", "mamba"}}, "want full_attention and sliding_attention alone"},
		{"gemma3_text", object{"query_pre_attn_scalar": -1}, "config: profile: got attn_scale NaN"},
		{"gemma3_text", object{"num_hidden_layers": 1 << 30}, "config: profile: got layers 1073741824"},
		{"llama", object{"quantization_config": object{"quant_method": "awq"}}, `config: config.json: quantization_config: got quant_method "awq", want fp8 in blocks of 128 by 128 or mxfp4`},
		{"qwen3_moe", object{"quantization_config": object{"quant_method": "fp8", "weight_block_size": []int{64, 64}}}, "quantization_config: got weight_block_size [64,64], want [128, 128]"},
		{"qwen3_moe", object{"quantization_config": object{"quant_method": "fp8"}}, "quantization_config: got weight_block_size of none, want [128, 128]"},
		{"seer", object{"text_config": object{"model_type": "hearer"}}, "got model_type hearer, which is not supported yet"},
		{"deepseek_v3", nil, "got model_type deepseek_v3, which is not supported yet"},
	} {
		if _, err := ProfileFromTransformers(drawn(c.family, c.more)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: got %v, want %q", c.family, c.more, err, c.want)
		}
	}
}

// Decoders are found wherever models that do more than read keep them, and what
// sees is no news.
func TestDecoderNames(t *testing.T) {
	const dir = "../../testdata/families/gemma3"
	raw, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ProfileFromTransformers(raw)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := source.Open(os.DirFS(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	for _, prefix := range []string{"model.", "", "model.language_model.", "language_model.model."} {
		list := []entry{{"vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight", "F16", []int64{2, 2}}, {"model.rotary_emb.inv_freq", "F16", []int64{4}}}
		for _, name := range golden.Names() {
			x, _ := golden.Tensor(name)
			list = append(list, entry{prefix + strings.TrimPrefix(name, "model."), "F16", x.Shape})
		}
		m, err := Map(open(t, list), p, "the-model")
		if err != nil {
			t.Errorf("%q: %v", prefix, err)
			continue
		}
		if got := m.Resident["layers.1.mlp_norm.weight"].Name; got != prefix+"layers.1.pre_feedforward_layernorm.weight" || len(m.Notices) > 0 || len(m.Layers) > 0 {
			t.Errorf("%q: got %s, notices %q and %d layers of neurons", prefix, got, m.Notices, len(m.Layers))
		}
	}
}
