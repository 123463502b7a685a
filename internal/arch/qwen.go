package arch

import "github.com/sparseflow/sparseflow/internal/config"

// qwen2 is Qwen 2 and 2.5 without experts (arXiv:2407.10671): llama with biases of
// query, key and value.
func qwen2() family {
	return family{name: "qwen2", names: decoderNames, architectures: []string{"qwen2"}, metadata: ggufQwen, profile: func(r *reader) config.ModelProfile {
		p := qwen(r, 0)
		p.QKVBias = true
		return p
	}}
}

// qwen3 is Qwen 3 without experts (arXiv:2505.09388): llama with norms of queries
// and keys.
func qwen3() family {
	return family{name: "qwen3", names: decoderNames, architectures: []string{"qwen3"}, metadata: ggufQwen, profile: func(r *reader) config.ModelProfile {
		p := qwen(r, 128)
		p.QKNorm = config.QKNormPerHead
		p.QKVBias = r.flag("attention_bias", false)
		p.OutBias = p.QKVBias
		return p
	}}
}

// qwen is what both have.
func qwen(r *reader, headDim int) config.ModelProfile {
	p := r.decoder(defaults{
		vocab: 151936, hidden: 4096, ffn: 22016, layers: 32, heads: 32, kvHeads: 32, headDim: headDim, positions: 32768,
		eps: 1e-6, activation: config.SiLU, bos: -1, pad: -1,
	})
	r.qwenWindows(&p)
	return p
}

// qwenWindows says which layers see a window, and how heads are rotated.
func (r *reader) qwenWindows(p *config.ModelProfile) {
	rope := r.rope(p.HeadDim(), 10000)
	p.Kinds = []config.LayerKind{{RoPE: rope}}
	if r.flag("use_sliding_window", false) {
		window, from := r.size("sliding_window", 4096), r.size("max_window_layers", 28)
		r.windows(p, window, rope, rope, func(layer int) bool { return layer >= from })
	}
}

func ggufQwen(m *metadata) config.ModelProfile { return m.decoder(config.SiLU) }
