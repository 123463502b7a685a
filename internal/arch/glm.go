package arch

import "github.com/sparseflow/sparseflow/internal/config"

// glm4MoE is GLM-4.5 to 4.7 (arXiv:2508.06471): the first layers are dense, the others
// have experts and one that all tokens use. Layers behind the last predict tokens
// further on, and are left out.
func glm4MoE() family {
	return family{
		name: "glm4_moe", architectures: []string{"glm4moe"}, profile: glm4MoEProfile,
		stems: map[string]string{"mlp_norm": "post_attention_norm"},
		names: func() names {
			n := decoderNames()
			n.ahead = 1
			for _, part := range []string{"gate", "up", "down"} {
				n.stems["moe.shared."+part] = "mlp.shared_experts." + part + "_proj"
			}
			return n
		},
		metadata: func(m *metadata) config.ModelProfile {
			p := m.decoder(config.SiLU)
			m.experts(&p, p.FFN, config.Router{Kind: config.RouterSigmoid, Epsilon: sigmoidEpsilon})
			return p
		},
	}
}

// sigmoidEpsilon is what the weights' sum is never below.
const sigmoidEpsilon = 1e-20

func glm4MoEProfile(r *reader) config.ModelProfile {
	p := r.decoder(defaults{
		vocab: 151552, hidden: 4096, ffn: 10944, layers: 46, heads: 96, kvHeads: 8, headDim: 128, positions: 131072,
		eps: 1e-5, activation: config.SiLU, bos: -1, pad: -1,
	})
	if r.flag("use_qk_norm", false) {
		p.QKNorm = config.QKNormPerHead
	}
	p.QKVBias = r.flag("attention_bias", false)
	rope := r.rope(p.HeadDim(), 10000)
	if key := "partial_rotary_factor"; !r.given(key) && !r.object("rope_parameters").given(key) {
		rope.Dims = p.HeadDim() / 2
	}
	p.Kinds = []config.LayerKind{{RoPE: rope}}
	m := config.MoE{
		Experts: r.experts(128),
		TopK:    r.size("num_experts_per_tok", 8),
		Width:   r.size("moe_intermediate_size", 1408),
		Router: config.Router{
			Kind: config.RouterSigmoid, ScoreBias: true, Epsilon: sigmoidEpsilon,
			Normalize: r.flag("norm_topk_prob", true),
		},
	}
	if n := r.size("n_group", 1); n > 1 {
		m.Router.Groups, m.Router.TopGroups = n, r.size("topk_group", 1)
	}
	if s := r.number("routed_scaling_factor", 1); s != 1 {
		m.Router.Scale = float32(s)
	}
	m.Shared = m.Width * r.size("n_shared_experts", 1)
	dense := r.size("first_k_dense_replace", 1)
	setExperts(&p, m, func(layer int) bool { return layer >= dense })
	return p
}
