package arch

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
)

// gemma3 is Gemma 3 (arXiv:2503.19786), of which what reads. Most layers see a
// window, and rotate by a base of their own; norms lie before and after attention
// and MLP, and their weights are stored less 1.
func gemma3() family {
	return family{name: "gemma3", also: []string{"gemma3_text"}, profile: gemma3Profile, architectures: []string{"gemma3"}, metadata: ggufGemma3, names: func() names {
		n := decoderNames()
		n.stems["attn_post_norm"] = "post_attention_layernorm"
		n.stems["mlp_norm"] = "pre_feedforward_layernorm"
		n.stems["mlp_post_norm"] = "post_feedforward_layernorm"
		return n
	}}
}

func gemma3Profile(r *reader) config.ModelProfile {
	p := r.decoder(defaults{
		vocab: 262208, hidden: 2304, ffn: 9216, layers: 26, heads: 8, kvHeads: 4, headDim: 256, positions: 131072,
		eps: 1e-6, activation: config.GELUTanh, tied: true, bos: 2, pad: 0, eos: []int32{1},
	})
	p.NormOffset, p.SandwichNorm, p.QKNorm = 1, true, config.QKNormPerHead
	p.EmbedScale = float32(math.Sqrt(float64(p.HiddenSize)))
	p.AttnScale = float32(1 / math.Sqrt(r.number("query_pre_attn_scalar", 256)))
	p.AttnSoftCap = float32(r.number("attn_logit_softcapping", 0))
	p.LogitSoftCap = float32(r.number("final_logit_softcapping", 0))
	p.QKVBias = r.flag("attention_bias", false)
	p.OutBias = p.QKVBias
	full := r.rope(p.HeadDim(), 1e6)
	sliding := config.RoPE{Theta: r.number("rope_local_base_freq", 1e4), Dims: p.HeadDim()}
	if both := r.object("rope_parameters"); both.given(fullAttention) { // one for each kind of layers
		in := both.object(fullAttention)
		full = in.scaledRoPE(r, p.HeadDim(), in.number("rope_theta", 1e6))
		in = both.object(slidingAttention)
		sliding = in.scaledRoPE(r, p.HeadDim(), in.number("rope_theta", 1e4))
	}
	pattern := max(1, r.size("sliding_window_pattern", 6))
	r.windows(&p, r.size("sliding_window", 4096), sliding, full, func(layer int) bool { return (layer+1)%pattern != 0 })
	return p
}

// ggufGemma3 follows llama.cpp, where metadata do not say what it takes to be so.
func ggufGemma3(m *metadata) config.ModelProfile {
	p := m.decoder(config.GELUTanh)
	p.SandwichNorm = true
	p.EmbedScale = float32(math.Sqrt(float64(p.HiddenSize)))
	if p.Layers == 62 { // the model of 27 billion weights
		p.AttnScale = float32(1 / math.Sqrt(float64(p.HiddenSize/max(1, p.Heads))))
	}
	full := p.Kinds[0].RoPE
	sliding := config.RoPE{Theta: m.number(".rope.freq_base_swa", 10000), Dims: full.Dims}
	if window := m.size(".attention.sliding_window", 0); window > 0 {
		new(reader).windows(&p, window, sliding, full, m.slides(6))
	}
	return p
}
