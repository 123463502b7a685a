package arch

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
)

// qwen2MoE is Qwen 1.5 and 2 with experts (arXiv:2407.10671), and one that all tokens
// use as far as a gate lets it.
func qwen2MoE() family {
	return family{
		name: "qwen2_moe", names: decoderNames, architectures: []string{"qwen2moe"},
		profile: func(r *reader) config.ModelProfile {
			p := r.decoder(defaults{
				vocab: 151936, hidden: 2048, ffn: 5632, layers: 24, heads: 16, kvHeads: 16, positions: 32768,
				eps: 1e-6, activation: config.SiLU, bos: -1, pad: -1,
			})
			p.QKVBias = r.flag("qkv_bias", true)
			rope := r.rope(p.HeadDim(), 10000)
			p.Kinds = []config.LayerKind{{RoPE: rope}}
			if r.flag("use_sliding_window", false) {
				until := r.size("max_window_layers", 28)
				r.windows(&p, r.size("sliding_window", 4096), rope, rope, func(layer int) bool { return layer%2 == 0 && layer < until })
			}
			r.qwenExperts(&p, config.MoE{
				Experts: 60, TopK: 4, Width: 1408, Shared: r.size("shared_expert_intermediate_size", 5632), SharedGate: true,
			})
			return p
		},
		metadata: func(m *metadata) config.ModelProfile {
			p := m.decoder(config.SiLU)
			m.experts(&p, p.FFN/max(1, m.size(".expert_used_count", 1)), config.Router{Kind: config.RouterSoftmax})
			return p
		},
	}
}

// qwen3MoE is Qwen 3 with experts (arXiv:2505.09388).
func qwen3MoE() family {
	return family{
		name: "qwen3_moe", names: decoderNames, architectures: []string{"qwen3moe"},
		profile: func(r *reader) config.ModelProfile {
			p := r.decoder(defaults{
				vocab: 151936, hidden: 2048, ffn: 6144, layers: 24, heads: 32, kvHeads: 4, positions: 32768,
				eps: 1e-6, activation: config.SiLU, bos: -1, pad: -1,
			})
			p.QKNorm = config.QKNormPerHead
			p.QKVBias = r.flag("attention_bias", false)
			p.OutBias = p.QKVBias
			r.qwenWindows(&p)
			r.qwenExperts(&p, config.MoE{Experts: 128, TopK: 8, Width: 768})
			return p
		},
		metadata: func(m *metadata) config.ModelProfile {
			p := m.decoder(config.SiLU)
			m.experts(&p, p.FFN/max(1, m.size(".expert_used_count", 1)), config.Router{Kind: config.RouterSoftmax, Normalize: true})
			return p
		},
	}
}

// qwenExperts gives experts to the layers that have some; def has the defaults of
// what is read.
func (r *reader) qwenExperts(p *config.ModelProfile, def config.MoE) {
	def.Experts = r.experts(def.Experts)
	def.TopK = r.size("num_experts_per_tok", def.TopK)
	def.Width = r.size("moe_intermediate_size", def.Width)
	def.Router.Kind = config.RouterSoftmax
	def.Router.Normalize = r.flag("norm_topk_prob", false)
	step, dense := r.size("decoder_sparse_step", 1), r.layers("mlp_only_layers")
	if step < 1 {
		r.fail("decoder_sparse_step", "at least 1")
		return
	}
	setExperts(p, def, func(layer int) bool {
		return def.Experts != 0 && (layer+1)%step == 0 && !slices.Contains(dense, layer)
	})
}
