package synth

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/suggest"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A ggufShape is the sizes of a model that is drawn as a GGUF file, without
// sparsity or with experts: for timing, also with other programs.
type ggufShape struct {
	name, arch string // arch as GGUF has it
	hidden, layers, heads, kvHeads, headDim,
	ffn, vocab, context int
	base float32 // of RoPE's frequencies
	tied bool    // head and embeddings
	mixture
}

// ggufShapes lists published models of each architecture that is written.
func ggufShapes() []ggufShape {
	dense := mixture{}
	return append([]ggufShape{
		{"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, 131072, 5e5, false, dense},
		{"llama-3.2-1b", "llama", 2048, 16, 32, 8, 64, 8192, 128256, 131072, 5e5, true, dense},
		{"llama-3.2-3b", "llama", 3072, 28, 24, 8, 128, 8192, 128256, 131072, 5e5, true, dense},
		{"mistral-7b", "llama", 4096, 32, 32, 8, 128, 14336, 32768, 32768, 1e6, false, dense},
		{"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, 8192, 1e5, true, dense},
		{"smollm2-360m", "llama", 960, 32, 15, 5, 64, 2560, 49152, 8192, 1e5, true, dense},
		{"smollm2-1.7b", "llama", 2048, 24, 32, 32, 64, 8192, 49152, 8192, 1e5, true, dense},
		{"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, 32768, 1e6, true, dense},
		{"qwen2.5-7b", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, 32768, 1e6, false, dense},
		{"qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, 40960, 1e6, true, dense},
		{"qwen3-1.7b", "qwen3", 2048, 28, 16, 8, 128, 6144, 151936, 40960, 1e6, true, dense},
		{"qwen3-4b", "qwen3", 2560, 36, 32, 8, 128, 9728, 151936, 40960, 1e6, true, dense},
		{"qwen3-8b", "qwen3", 4096, 36, 32, 8, 128, 12288, 151936, 40960, 1e6, false, dense},
		{"gemma3-270m", "gemma3", 640, 18, 4, 1, 256, 2048, 262144, 32768, 1e6, true, dense},
		{"gemma3-1b", "gemma3", 1152, 26, 4, 1, 256, 6912, 262144, 32768, 1e6, true, dense},
		{"gemma3-4b", "gemma3", 2560, 34, 8, 4, 256, 10240, 262208, 131072, 1e6, true, dense},
	}, mixtures()...)
}

// GGUFShapes are the names of shapes that WriteGGUF takes.
func GGUFShapes() []string {
	var names []string
	for _, s := range ggufShapes() {
		names = append(names, s.name)
	}
	return names
}

func findGGUF(name string) (ggufShape, error) {
	for _, s := range ggufShapes() {
		if s.name == name {
			return s, nil
		}
	}
	hint := ""
	if near, ok := suggest.Match(name, GGUFShapes()); ok {
		hint = "; did you mean " + near + "?"
	}
	return ggufShape{}, fmt.Errorf("synth: shape: got %q for a GGUF file, want one of %v%s", name, GGUFShapes(), hint)
}

// GGUFProfile is that of a shape that WriteGGUF takes.
func GGUFProfile(name string) (config.ModelProfile, error) {
	s, err := findGGUF(name)
	if err != nil {
		return config.ModelProfile{}, err
	}
	c := map[string]any{
		"model_type": s.arch, "vocab_size": s.vocab, "hidden_size": s.hidden, "num_hidden_layers": s.layers,
		"num_attention_heads": s.heads, "num_key_value_heads": s.kvHeads, "head_dim": s.headDim,
		"intermediate_size": s.ffn, "max_position_embeddings": s.context, "rms_norm_eps": normEps,
		"rope_theta": s.base, "tie_word_embeddings": s.tied, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
	}
	switch s.arch {
	case "gemma3":
		c["model_type"], c["sliding_window"] = "gemma3_text", gemmaWindow
	case qwenExperts:
		c["model_type"], c["num_experts"], c["num_experts_per_tok"] = "qwen3_moe", s.experts, s.topK
		c["moe_intermediate_size"], c["norm_topk_prob"] = s.width, true
	case gptOSS:
		c["model_type"], c["num_local_experts"], c["num_experts_per_tok"] = "gpt_oss", s.experts, s.topK
		c["sliding_window"] = gptOSSWindow
		c["rope_scaling"] = map[string]any{
			"rope_type": "yarn", "factor": yarnFactor, "beta_fast": 32, "beta_slow": 1, "truncate": false,
			"original_max_position_embeddings": yarnBefore,
		}
	}
	if s.llama3() {
		c["rope_scaling"] = map[string]any{
			"rope_type": "llama3", "factor": llama3Factor, "low_freq_factor": llama3Long, "high_freq_factor": llama3Short,
			"original_max_position_embeddings": llama3Before,
		}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return config.ModelProfile{}, err
	}
	return arch.ProfileFromTransformers(raw)
}

const (
	normEps     = 1e-6
	gemmaWindow = 512
)

// How Llama 3.1 scales RoPE.
const (
	llama3Factor = 8
	llama3Short  = 4
	llama3Long   = 1
	llama3Before = 8192
)

// What architectures have beside the plainest.
func (s ggufShape) qkNorm() bool   { return s.arch == "qwen3" || s.arch == "gemma3" }
func (s ggufShape) qkvBias() bool  { return s.arch == "qwen2" }
func (s ggufShape) sandwich() bool { return s.arch == "gemma3" } // norms after attention and MLP too

// llama3 is whether RoPE's frequencies are scaled as Llama 3.1 has it.
func (s ggufShape) llama3() bool { return s.arch == "llama" && s.context == 131072 }

// A drawnTensor is one of normal values.
type drawnTensor struct {
	name            string
	shape           []int64
	dtype           tensor.DType
	mean, deviation float64
	// values, if not nil, are in place of drawn ones.
	values func(normals *normalTable, s stream) []float32
	// row, if not nil, says how each row of a matrix is drawn, in place of mean and
	// deviation.
	row func(row int) rowDraw
}

// siluRMS is the root of the mean square of silu(g) u for normal g and u.
const siluRMS = 0.597

// tensors lists what a model of this shape holds. Deviations are such that what
// norms give, of deviation 1, has it again after a matrix, and that a sublayer adds
// to the residual stream a share of update of it.
func (s ggufShape) tensors(of quants) (list []drawnTensor) {
	if s.experts > 0 {
		return s.mixtureTensors(of)
	}
	d, q, kv := int64(s.hidden), int64(s.heads*s.headDim), int64(s.kvHeads*s.headDim)
	layer := 0
	matrix := func(role tensor.Role, name string, rows, cols int64, deviation float64) {
		dtype := of.matrix(tensor.Place{Role: role, Layer: layer, Layers: s.layers, Cols: int(cols)})
		list = append(list, drawnTensor{name: name + ".weight", shape: []int64{rows, cols}, dtype: dtype, deviation: deviation})
	}
	vector := func(name string, n int64, mean, deviation float64) {
		list = append(list, drawnTensor{name: name, shape: []int64{n}, dtype: tensor.F32, mean: mean, deviation: deviation})
	}
	norm := func(name string, n int64, mean float64) { vector(name+".weight", n, mean, mean/16) }
	keep := 1 / math.Sqrt(float64(d)) // of a matrix that keeps the deviation

	embed, stream := float64(tokenDeviation), float64(tokenDeviation)
	if s.arch == "gemma3" { // which multiplies embeddings by the root of d
		embed, stream = keep, 1
	}
	grown := math.Pow(1+update*update, float64(s.layers))
	role, gain := tensor.EmbeddingRole, 1.0
	if s.tied { // the likeliest next token is the same again: see finalGain
		role, gain = tensor.HeadRole, math.Log(float64(s.vocab))*grown/(embed*float64(d))
	}
	matrix(role, "token_embd", int64(s.vocab), d, embed)
	norm("output_norm", d, gain)
	if !s.tied {
		matrix(tensor.HeadRole, "output", int64(s.vocab), d, 2*keep)
	}
	if s.llama3() {
		n := int64(s.headDim / 2)
		list = append(list, drawnTensor{name: "rope_freqs.weight", shape: []int64{n}, dtype: tensor.F32, values: llama3Factors(s)})
	}
	added := update * stream
	for layer = range s.layers {
		at := func(name string) string { return fmt.Sprintf("blk.%d.%s", layer, name) }
		norm(at("attn_norm"), d, 1)
		matrix(tensor.OtherRole, at("attn_q"), q, d, keep)
		matrix(tensor.AttnKRole, at("attn_k"), kv, d, keep)
		matrix(tensor.AttnVRole, at("attn_v"), kv, d, keep)
		matrix(tensor.AttnOutRole, at("attn_output"), d, q, added/math.Sqrt(float64(q)))
		if s.qkvBias() {
			vector(at("attn_q.bias"), q, 0, 0.1)
			vector(at("attn_k.bias"), kv, 0, 0.1)
			vector(at("attn_v.bias"), kv, 0, 0.1)
		}
		if s.qkNorm() {
			norm(at("attn_q_norm"), int64(s.headDim), 1)
			norm(at("attn_k_norm"), int64(s.headDim), 1)
		}
		if s.sandwich() {
			norm(at("post_attention_norm"), d, added)
			norm(at("post_ffw_norm"), d, added)
		}
		norm(at("ffn_norm"), d, 1)
		matrix(tensor.OtherRole, at("ffn_gate"), int64(s.ffn), d, keep)
		matrix(tensor.OtherRole, at("ffn_up"), int64(s.ffn), d, keep)
		matrix(tensor.DownRole, at("ffn_down"), d, int64(s.ffn), added/siluRMS/math.Sqrt(float64(s.ffn)))
	}
	return list
}

// llama3Factors are what Llama 3.1 divides RoPE's frequencies by: 8 for waves of
// over 8192 tokens, 1 for those of under 2048, and between them in between.
func llama3Factors(s ggufShape) func(*normalTable, stream) []float32 {
	factors := make([]float32, s.headDim/2)
	for i := range factors {
		turns := llama3Before / (2 * math.Pi * math.Pow(float64(s.base), float64(2*i)/float64(s.headDim)))
		smooth := min(1, max(0, (turns-llama3Long)/(llama3Short-llama3Long)))
		factors[i] = float32(1 / ((1-smooth)/llama3Factor + smooth))
	}
	return func(*normalTable, stream) []float32 { return factors }
}
