package arch

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
)

// gptOSS is gpt-oss (OpenAI, arXiv:2508.10925): every second layer sees a window,
// heads have sinks, everything has biases, and the logits of the chosen experts alone
// make their weights.
func gptOSS() family {
	return family{
		name: "gpt_oss", architectures: []string{"gpt-oss"}, profile: gptOSSProfile, metadata: ggufGPTOSS,
		stems: map[string]string{"mlp_norm": "post_attention_norm"},
		names: func() names {
			n := decoderNames()
			n.stems["moe.router"] = "mlp.router"
			packed := expertFused("mlp.experts.")
			packed.interleaved = true
			for i, name := range packed.parts {
				packed.biases[i] = name + "_bias"
			}
			whole := packed
			packed.mxfp4, whole.transposed = true, true
			n.experts = []expertForm{packed, whole}
			return n
		},
	}
}

func gptOSSProfile(r *reader) config.ModelProfile {
	p := r.decoder(defaults{
		vocab: 201088, hidden: 2880, ffn: 2880, layers: 36, heads: 64, kvHeads: 8, headDim: 64, positions: 131072,
		eps: 1e-5, activation: config.SiLU, bos: -1, pad: -1,
	})
	if p.Activation != config.SiLU {
		r.fail("hidden_act", "silu")
	}
	if r.number("swiglu_alpha", 1.702) != 1.702 {
		r.fail("swiglu_alpha", "1.702")
	}
	if r.number("swiglu_limit", 7) != 7 {
		r.fail("swiglu_limit", "7")
	}
	p.Activation, p.Sinks = config.ClampedSwiGLU, true
	p.QKVBias = r.flag("attention_bias", true)
	p.OutBias = p.QKVBias
	rope := r.rope(p.HeadDim(), 150000)
	if !r.given("rope_parameters") && !r.given("rope_scaling") {
		rope = config.RoPE{
			Theta: rope.Theta, Dims: rope.Dims, Scaling: config.RoPEYaRN, Factor: 32, Original: 4096, BetaFast: 32, BetaSlow: 1,
			Unrounded: true, Magnitude: 0.1*math.Log(32) + 1,
		}
	}
	window := 0
	if _, there := r.keys["sliding_window"]; r.given("sliding_window") || !there {
		window = r.size("sliding_window", 128)
	}
	r.windows(&p, window, rope, rope, func(layer int) bool { return layer%2 == 0 })
	r.allExperts(&p, config.MoE{Experts: 128, TopK: 4, Width: p.FFN, Bias: true, Router: config.Router{
		Kind: config.RouterSoftmaxChosen, Bias: true,
	}})
	return p
}

// ggufGPTOSS has YaRN's bounds as the model's makers do, while llama.cpp rounds them.
func ggufGPTOSS(m *metadata) config.ModelProfile {
	p := m.decoder(config.ClampedSwiGLU)
	p.Sinks = true
	rope := p.Kinds[0].RoPE
	rope.Unrounded = rope.Scaling == config.RoPEYaRN
	new(reader).windows(&p, m.size(".attention.sliding_window", -1), rope, rope, m.slides(2))
	m.experts(&p, p.FFN, config.Router{Kind: config.RouterSoftmaxChosen})
	return p
}
