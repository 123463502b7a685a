package arch

import "github.com/sparseflow/sparseflow/internal/config"

// mixtral is Mixtral (Jiang et al., arXiv:2401.04088): mistral with experts in all
// layers. In GGUF it is llama.
func mixtral() family {
	return family{name: "mixtral", names: sparseBlockNames, profile: func(r *reader) config.ModelProfile {
		p := r.decoder(defaults{
			vocab: 32000, hidden: 4096, ffn: 14336, layers: 32, heads: 32, kvHeads: 8, positions: 131072, eps: 1e-5,
			activation: config.SiLU, bos: 1, pad: -1, eos: []int32{2},
		})
		window := 0
		if r.given("sliding_window") {
			window = r.size("sliding_window", 0)
		}
		p.Kinds = []config.LayerKind{{Window: window, RoPE: r.rope(p.HeadDim(), 1e6)}}
		r.allExperts(&p, config.MoE{Experts: 8, TopK: 2, Width: p.FFN, Router: config.Router{Kind: config.RouterSoftmax, Normalize: true}})
		return p
	}}
}

// olmoe is OLMoE (Muennighoff et al., arXiv:2409.02060).
func olmoe() family {
	return family{
		name: "olmoe", names: decoderNames, architectures: []string{"olmoe"},
		profile: func(r *reader) config.ModelProfile {
			p := r.decoder(defaults{
				vocab: 50304, hidden: 2048, ffn: 2048, layers: 16, heads: 16, positions: 4096, eps: 1e-5,
				activation: config.SiLU, bos: -1, pad: 1, eos: []int32{50279},
			})
			p.QKNorm = config.QKNormWhole
			p.QKVClip = float32(r.number("clip_qkv", 0))
			p.QKVBias = r.flag("attention_bias", false)
			p.OutBias = p.QKVBias
			p.Kinds = []config.LayerKind{{RoPE: r.rope(p.HeadDim(), 10000)}}
			r.allExperts(&p, config.MoE{Experts: 64, TopK: 8, Width: p.FFN, Router: config.Router{
				Kind: config.RouterSoftmax, Normalize: r.flag("norm_topk_prob", false),
			}})
			return p
		},
		metadata: func(m *metadata) config.ModelProfile {
			p := m.decoder(config.SiLU)
			p.QKNorm = config.QKNormWhole
			m.experts(&p, p.FFN, config.Router{Kind: config.RouterSoftmax})
			return p
		},
	}
}

// miniMaxM2 is MiniMax-M2: norms of all queries and keys together, half of each head
// rotated, a router of sigmoids.
func miniMaxM2() family {
	router := config.Router{Kind: config.RouterSigmoid, ScoreBias: true, Normalize: true}
	return family{
		name: "minimax_m2", names: sparseBlockNames, architectures: []string{"minimax-m2"},
		profile: func(r *reader) config.ModelProfile {
			p := r.decoder(defaults{
				vocab: 200064, hidden: 3072, ffn: 1536, layers: 62, heads: 48, kvHeads: 8, headDim: 128, positions: 196608,
				eps: 1e-6, activation: config.SiLU, bos: 200034, pad: -1, eos: []int32{200020},
			})
			p.QKNorm = config.QKNormWhole
			rope := r.rope(p.HeadDim(), 5e6)
			if r.given("rotary_dim") { // of the first files, which say no share
				rope.Dims = r.size("rotary_dim", 0)
			}
			p.Kinds = []config.LayerKind{{RoPE: rope}}
			r.allExperts(&p, config.MoE{Experts: 256, TopK: 8, Width: p.FFN, Router: router})
			return p
		},
		metadata: func(m *metadata) config.ModelProfile {
			p := m.decoder(config.SiLU)
			p.QKNorm = config.QKNormWhole
			m.experts(&p, p.FFN, router)
			return p
		},
	}
}

// sparseBlockNames are those of Mixtral and of what was made from its class.
func sparseBlockNames() names {
	const at = "block_sparse_moe."
	n := decoderNames()
	n.stems["moe.router"] = at + "gate"
	n.whole["moe.score_bias"] = at + "e_score_correction_bias"
	n.experts = []expertForm{expertEach(at+"experts.", "w1", "w3", "w2")}
	return n
}
