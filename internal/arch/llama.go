package arch

import "github.com/sparseflow/sparseflow/internal/config"

// llama is Llama 1 to 3 and all that is built like it, of transformers'
// LlamaForCausalLM.
func llama() family {
	return family{name: "llama", names: decoderNames, architectures: []string{"llama"}, metadata: func(m *metadata) config.ModelProfile {
		p := m.decoder(config.SiLU)
		// Rows of queries and keys are stored so that pairs are neighbours.
		p.Kinds[0].RoPE.Interleaved = true
		p.Kinds[0].Window = m.size(".attention.sliding_window", 0)
		if m.size(".expert_count", 0) > 0 { // Mixtral and what was merged into its form
			m.experts(&p, p.FFN, config.Router{Kind: config.RouterSoftmax, Normalize: true})
		}
		return p
	}, profile: func(r *reader) config.ModelProfile {
		p := r.decoder(llamaDefaults(false))
		p.QKVBias = r.flag("attention_bias", false)
		p.OutBias = p.QKVBias
		p.MLPBias = r.flag("mlp_bias", false)
		p.Kinds = []config.LayerKind{{RoPE: r.rope(p.HeadDim(), 10000)}}
		return p
	}}
}

// llamaDefaults are those of LlamaConfig, and of others that were made from it.
func llamaDefaults(tied bool) defaults {
	return defaults{
		vocab: 32000, hidden: 4096, ffn: 11008, layers: 32, heads: 32, positions: 2048, eps: 1e-6,
		activation: config.SiLU, tied: tied, bos: 1, pad: -1, eos: []int32{2},
	}
}

// mistral is llama in whose layers a token may see a window of tokens alone (Jiang
// et al., arXiv:2310.06825).
func mistral() family {
	return family{name: "mistral", names: decoderNames, profile: func(r *reader) config.ModelProfile {
		p := r.decoder(defaults{
			vocab: 32000, hidden: 4096, ffn: 14336, layers: 32, heads: 32, kvHeads: 8, positions: 131072, eps: 1e-6,
			activation: config.SiLU, bos: 1, pad: -1, eos: []int32{2},
		})
		window := 0
		if _, there := r.keys["sliding_window"]; r.given("sliding_window") || !there {
			window = r.size("sliding_window", 4096)
		}
		p.Kinds = []config.LayerKind{{Window: window, RoPE: r.rope(p.HeadDim(), 10000)}}
		return p
	}}
}
