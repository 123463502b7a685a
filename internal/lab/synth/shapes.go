package synth

import (
	"fmt"
	"maps"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/suggest"
)

// Custom is the shape whose sizes are given one by one.
const Custom = "custom"

// Sizes is what tells drawn models apart.
type Sizes struct {
	Hidden, Layers, Heads, FFN int
	Vocab                      int
	Context                    int // longest text
	// Gate is the activation of the gates of a Llama's neurons, of which exact zeros
	// come; empty: the model is an OPT.
	Gate       config.Activation
	Threshold  float32 // of FATReLU
	Statistics Statistics
}

type shape struct {
	name  string
	sizes Sizes
}

// published lists the models of Zhang et al. 2022 that norm before attention and
// MLP, and Llamas whose activation was made ReLU.
func published() []shape {
	opt := func(name string, hidden, layers, heads int) shape {
		return shape{name, Sizes{Hidden: hidden, Layers: layers, Heads: heads, FFN: 4 * hidden, Vocab: 50272, Context: 2048}}
	}
	llama7b := Sizes{Hidden: 4096, Layers: 32, Heads: 32, FFN: 11008, Vocab: 32000, Context: 4096}
	relu, prosparse := llama7b, llama7b
	// ReluLLaMA: 25 to 45 % of a layer's neurons are active, 32.9 % on average. How
	// unequal they are is ReLU-LLaMA-70B's, of PowerInfer's figure 5 (Song et al. 2023).
	relu.Gate, relu.Statistics = config.ReLU, Statistics{Active: 0.329, First: 0.25, Last: 0.45, Hot: 0.43}
	// ProSparse (Song et al. 2024): 89.32 % of the neurons are silent. Nobody tells by
	// layer, nor how unequal they are: these are OPT's.
	prosparse.Gate, prosparse.Threshold, prosparse.Statistics = config.FATReLU, 0.01, Statistics{Active: 0.1068}
	return []shape{
		opt("opt-125m", 768, 12, 12), opt("opt-1.3b", 2048, 24, 32), opt("opt-2.7b", 2560, 32, 32), opt("opt-6.7b", 4096, 32, 32),
		opt("opt-13b", 5120, 40, 40), opt("opt-30b", 7168, 48, 56), opt("opt-66b", 9216, 64, 72),
		{"relu-llama-7b", relu}, {"prosparse-7b", prosparse},
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

// Profile is a model of these sizes, with every other choice as its family's
// default, but for biases: Llamas have them, for thresholds to be drawn as OPT's.
func (s Sizes) Profile() config.ModelProfile {
	p := config.ModelProfile{
		Family: "opt", VocabSize: s.Vocab, EmbedDim: s.Hidden, HiddenSize: s.Hidden, Layers: s.Layers,
		Heads: s.Heads, KVHeads: s.Heads, FFN: s.FFN, NeuronParts: 2, MaxPositions: s.Context, LearnedPositions: true,
		PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm, NormEps: 1e-5, NormAffine: true,
		PreNorm: true, FinalNorm: true, Bias: true, TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2}, Synthetic: true,
	}
	if s.Gate != "" {
		p.Family, p.NeuronParts, p.Norm = "llama", 3, config.RMSNorm
		p.LearnedPositions, p.PositionOffset, p.HeadSize = false, 0, p.HeadDim()
		p.Bias, p.QKVBias, p.OutBias, p.MLPBias = false, true, true, true
		p.Kinds = []config.LayerKind{{RoPE: config.RoPE{Theta: ropeTheta, Dims: p.HeadDim()}}}
		p.Activation, p.Threshold, p.BOS, p.PAD = s.Gate, s.Threshold, 1, -1
	}
	return p
}

// transformersConfig is the config.json of a checkpoint of profile p.
func transformersConfig(p config.ModelProfile) map[string]any {
	all := map[string]any{
		"vocab_size": p.VocabSize, "hidden_size": p.HiddenSize, "num_hidden_layers": p.Layers,
		"num_attention_heads": p.Heads, "max_position_embeddings": p.MaxPositions, "tie_word_embeddings": p.TiedHead,
		"bos_token_id": p.BOS, "eos_token_id": p.EOS, "torch_dtype": "float16",
		arch.SyntheticKey: true, arch.ActiveKey: p.ActiveShares,
	}
	more := map[string]any{
		"architectures": []string{"OPTForCausalLM"}, "model_type": "opt", "word_embed_proj_dim": p.EmbedDim,
		"ffn_dim": p.FFN, "activation_function": string(p.Activation), "do_layer_norm_before": p.PreNorm, "pad_token_id": p.PAD,
	}
	if p.NeuronParts == 3 {
		more = map[string]any{
			"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "num_key_value_heads": p.KVHeads,
			"intermediate_size": p.FFN, "hidden_act": string(p.Activation), "rms_norm_eps": p.NormEps,
			"attention_bias": p.QKVBias, "mlp_bias": p.MLPBias, "rope_theta": ropeTheta,
		}
		if p.Threshold != 0 {
			more["hidden_act_param"] = p.Threshold
		}
	}
	maps.Copy(all, more)
	return all
}

// ropeTheta is Llama 2's.
const ropeTheta = 10000
