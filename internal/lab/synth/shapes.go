package synth

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/suggest"
)

// Custom is the shape whose sizes are given one by one.
const Custom = "custom"

// Sizes is what tells OPT models apart.
type Sizes struct {
	Hidden, Layers, Heads, FFN int
	Vocab                      int
	Context                    int // longest text
}

type shape struct {
	name  string
	sizes Sizes
}

// published lists the models of Zhang et al. 2022 that norm before attention
// and MLP.
func published() []shape {
	const vocab, context = 50272, 2048
	return []shape{
		{"opt-125m", Sizes{768, 12, 12, 3072, vocab, context}},
		{"opt-1.3b", Sizes{2048, 24, 32, 8192, vocab, context}},
		{"opt-2.7b", Sizes{2560, 32, 32, 10240, vocab, context}},
		{"opt-6.7b", Sizes{4096, 32, 32, 16384, vocab, context}},
		{"opt-13b", Sizes{5120, 40, 40, 20480, vocab, context}},
		{"opt-30b", Sizes{7168, 48, 56, 28672, vocab, context}},
		{"opt-66b", Sizes{9216, 64, 72, 36864, vocab, context}},
	}
}

// Shapes are the names of shapes, Custom the last.
func Shapes() []string {
	var names []string
	for _, s := range published() {
		names = append(names, s.name)
	}
	return append(names, Custom)
}

// Published is the sizes of a published model.
func Published(name string) (Sizes, error) {
	for _, s := range published() {
		if s.name == name {
			return s.sizes, nil
		}
	}
	hint := ""
	if near, ok := suggest.Match(name, Shapes()); ok {
		hint = "; did you mean " + near + "?"
	}
	return Sizes{}, fmt.Errorf("synth: shape: got %q, want one of %v%s", name, Shapes(), hint)
}

// Profile is an OPT model of these sizes, with every other choice as OPT's own
// default.
func (s Sizes) Profile() config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: s.Vocab, EmbedDim: s.Hidden, HiddenSize: s.Hidden, Layers: s.Layers,
		Heads: s.Heads, KVHeads: s.Heads, FFN: s.FFN, NeuronParts: 2, MaxPositions: s.Context, LearnedPositions: true,
		PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm, NormEps: 1e-5, NormAffine: true,
		PreNorm: true, FinalNorm: true, Bias: true, TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2}, Synthetic: true,
	}
}

// transformersConfig is the config.json of a checkpoint of profile p.
func transformersConfig(p config.ModelProfile) map[string]any {
	return map[string]any{
		"architectures": []string{"OPTForCausalLM"}, "model_type": "opt",
		"vocab_size": p.VocabSize, "hidden_size": p.HiddenSize, "word_embed_proj_dim": p.EmbedDim,
		"num_hidden_layers": p.Layers, "num_attention_heads": p.Heads, "ffn_dim": p.FFN,
		"max_position_embeddings": p.MaxPositions, "activation_function": string(p.Activation),
		"do_layer_norm_before": p.PreNorm, "tie_word_embeddings": p.TiedHead,
		"bos_token_id": p.BOS, "pad_token_id": p.PAD, "eos_token_id": p.EOS, "torch_dtype": "float16",
		arch.SyntheticKey: true, arch.ActiveKey: p.ActiveShares,
	}
}
