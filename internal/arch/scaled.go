package arch

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
)

// minicpm is MiniCPM (Hu et al., arXiv:2404.06395), MiniCPM-S with its FATReLU too:
// llama whose embeddings, residual updates and logits are scaled.
func minicpm() family {
	return family{name: "minicpm", names: decoderNames, profile: func(r *reader) config.ModelProfile {
		p := r.decoder(llamaDefaults(true))
		p.Kinds = []config.LayerKind{{RoPE: r.rope(p.HeadDim(), 10000)}}
		p.EmbedScale = float32(r.number("scale_emb", 1))
		p.ResidualScale = float32(r.number("scale_depth", 1) / math.Sqrt(float64(p.Layers)))
		p.LogitScale = float32(r.number("dim_model_base", 1) / float64(p.HiddenSize))
		if r.size("num_experts", 0) > 0 {
			r.fail("num_experts", "0: experts are not supported yet")
		}
		return p
	}}
}

// granite is Granite 3 without experts: llama with scales, that of attention's scores
// too.
func granite() family {
	return family{name: "granite", names: decoderNames, profile: func(r *reader) config.ModelProfile {
		p := r.decoder(llamaDefaults(false))
		p.Kinds = []config.LayerKind{{RoPE: r.rope(p.HeadDim(), 10000)}}
		p.QKVBias = r.flag("attention_bias", false)
		p.OutBias = p.QKVBias
		p.MLPBias = r.flag("mlp_bias", false)
		p.EmbedScale = float32(r.number("embedding_multiplier", 1))
		p.ResidualScale = float32(r.number("residual_multiplier", 1))
		p.AttnScale = float32(r.number("attention_multiplier", 1))
		p.LogitScale = float32(1 / r.number("logits_scaling", 1))
		return p
	}}
}
