package arch

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
)

// defaults are those of a configuration class of transformers.
type defaults struct {
	vocab, hidden, ffn, layers, heads, positions int
	kvHeads                                      int // 0: as heads
	headDim                                      int // 0: hidden / heads
	eps                                          float64
	activation                                   config.Activation
	tied                                         bool
	bos, pad                                     int32 // -1: none
	eos                                          []int32
}

// decoder reads what the configurations of all decoders of Llama's kind (Touvron
// et al., arXiv:2302.13971) call the same: RMS norms before attention and MLP,
// rotated positions, grouped heads, a gated MLP.
func (r *reader) decoder(d defaults) config.ModelProfile {
	vocab := r.size("vocab_size", d.vocab)
	hidden := r.size("hidden_size", d.hidden)
	heads := r.size("num_attention_heads", d.heads)
	kvHeads, headDim := d.kvHeads, d.headDim
	if _, there := r.keys["num_key_value_heads"]; there || kvHeads == 0 {
		kvHeads = heads
		if r.given("num_key_value_heads") {
			kvHeads = r.size("num_key_value_heads", heads)
		}
	}
	if _, there := r.keys["head_dim"]; there || headDim == 0 {
		headDim = hidden / max(1, heads)
		if r.given("head_dim") {
			headDim = r.size("head_dim", headDim)
		}
	}
	act := "hidden_act"
	if r.given("hidden_activation") {
		act = "hidden_activation"
	}
	p := config.ModelProfile{
		VocabSize:    vocab,
		EmbedDim:     hidden,
		HiddenSize:   hidden,
		Layers:       r.size("num_hidden_layers", d.layers),
		Heads:        heads,
		KVHeads:      kvHeads,
		HeadSize:     headDim,
		FFN:          r.size("intermediate_size", d.ffn),
		NeuronParts:  3,
		MaxPositions: r.size("max_position_embeddings", d.positions),
		Activation:   r.activation(act, d.activation),
		Norm:         config.RMSNorm,
		NormEps:      float32(r.number("rms_norm_eps", d.eps)),
		NormAffine:   true,
		PreNorm:      true,
		FinalNorm:    true,
		TiedHead:     r.flag("tie_word_embeddings", d.tied),
		BOS:          r.token("bos_token_id", d.bos, vocab),
		PAD:          r.token("pad_token_id", d.pad, vocab),
		EOS:          r.tokens("eos_token_id", d.eos, vocab),
	}
	if p.Activation == config.FATReLU {
		p.Threshold = float32(r.number("hidden_act_param", 0))
	}
	return p
}

// Names of transformers for the kinds of layers.
const (
	slidingAttention = "sliding_attention"
	fullAttention    = "full_attention"
)

// windows sets the kinds of layers where some see a window and some see all, and
// how each kind is rotated. Without layer_types those slide that say so.
func (r *reader) windows(p *config.ModelProfile, window int, sliding, full config.RoPE, slides func(layer int) bool) {
	types := r.strings("layer_types")
	if types != nil && len(types) != p.Layers {
		r.fail("layer_types", fmt.Sprintf("those of %d layers", p.Layers))
		return
	}
	p.Kinds = []config.LayerKind{{RoPE: full}, {Window: window, RoPE: sliding}}
	n := 0 // that slide
	for i := range min(max(p.Layers, 0), config.MostLayers) {
		kind := 0
		switch {
		case types == nil && slides(i), types != nil && types[i] == slidingAttention:
			kind, n = 1, n+1
		case types != nil && types[i] != fullAttention:
			r.fail("layer_types", fullAttention+" and "+slidingAttention+" alone")
		}
		p.KindOf = append(p.KindOf, kind)
	}
	switch n {
	case 0:
		p.Kinds, p.KindOf = p.Kinds[:1], nil
	case p.Layers:
		p.Kinds, p.KindOf = p.Kinds[1:], nil
	}
}

// rope is how heads of headDim elements are rotated: by rope_parameters, as
// transformers writes it from version 5 on, or by rope_theta and rope_scaling.
func (r *reader) rope(headDim int, theta float64) config.RoPE {
	if r.given("rope_parameters") {
		in := r.object("rope_parameters")
		return in.scaledRoPE(r, headDim, in.number("rope_theta", theta))
	}
	return r.object("rope_scaling").scaledRoPE(r, headDim, r.number("rope_theta", theta))
}

// scaledRoPE reads what is said of scaling; of is the whole configuration. See
// transformers, modeling_rope_utils.py.
func (r *reader) scaledRoPE(of *reader, headDim int, theta float64) config.RoPE {
	partial := r.number("partial_rotary_factor", of.number("partial_rotary_factor", 1))
	rope := config.RoPE{Theta: theta, Dims: int(float64(headDim) * partial)}
	key := "rope_type"
	if !r.given(key) {
		key = "type" // its older name
	}
	if !r.given(key) {
		return rope
	}
	const known = "default, linear, dynamic, llama3 or yarn"
	switch kind := r.text(key, known); kind {
	case "default", "mrope", "dynamic":
		// Dynamic scaling begins beyond max_position_embeddings, where we end. With
		// text alone the three positions of M-RoPE are one.
		return rope
	case "linear", "llama3", "yarn":
		rope.Scaling = config.RoPEScaling(kind)
	default:
		r.fail(key, known)
		return rope
	}
	rope.Factor = r.number("factor", 1)
	rope.Original = r.size("original_max_position_embeddings", of.size("max_position_embeddings", 0))
	switch rope.Scaling {
	case config.RoPELlama3:
		rope.LowFreq, rope.HighFreq = r.number("low_freq_factor", 1), r.number("high_freq_factor", 4)
	case config.RoPEYaRN:
		rope.BetaFast, rope.BetaSlow = r.number("beta_fast", 32), r.number("beta_slow", 1)
		rope.Unrounded = !r.flag("truncate", true)
		rope.Magnitude = r.number("attention_factor", r.yarnMagnitude(rope.Factor))
	default:
		rope.Original = 0
	}
	return rope
}

// yarnMagnitude is how much attention grows with the context.
func (r *reader) yarnMagnitude(factor float64) float64 {
	of := func(scale float64) float64 {
		if factor <= 1 {
			return 1
		}
		return 0.1*scale*math.Log(factor) + 1
	}
	one, all := r.number("mscale", 0), r.number("mscale_all_dim", 0)
	if one > 0 && all > 0 {
		return of(one) / of(all)
	}
	return of(1)
}

// decoderNames are those of transformers' classes for decoders of Llama's kind.
func decoderNames() names {
	return names{
		// Models that do more than read keep what reads in a part of its own.
		prefixes: []string{"model.", "", "model.language_model.", "language_model.model.", "language_model."},
		probe:    "final_norm.weight",
		heads:    transformersHeads(),
		layer:    "layers.%d.",
		stems: map[string]string{
			"embed.tokens": "embed_tokens",
			"final_norm":   "norm",
			"attn_norm":    "input_layernorm",
			"attn.q":       "self_attn.q_proj",
			"attn.k":       "self_attn.k_proj",
			"attn.v":       "self_attn.v_proj",
			"attn.o":       "self_attn.o_proj",
			"attn.q_norm":  "self_attn.q_norm",
			"attn.k_norm":  "self_attn.k_norm",
			"mlp_norm":     "post_attention_layernorm",
			"mlp.gate":     "mlp.gate_proj",
			"mlp.up":       "mlp.up_proj",
			"mlp.down":     "mlp.down_proj",
			"moe.router":   "mlp.gate",

			"moe.shared.gate": "mlp.shared_expert.gate_proj",
			"moe.shared.up":   "mlp.shared_expert.up_proj",
			"moe.shared.down": "mlp.shared_expert.down_proj",
			"moe.shared_gate": "mlp.shared_expert_gate",
		},
		whole: map[string]string{
			"attn.sinks":     "self_attn.sinks",
			"moe.score_bias": "mlp.gate.e_score_correction_bias",
		},
		experts: []expertForm{expertEach("mlp.experts.", "gate_proj", "up_proj", "down_proj"), expertFused("mlp.experts.")},
	}
}
