package config

import (
	"math"
	"strings"
	"testing"
)

// The values of transformers' formulae (modeling_rope_utils.py), computed apart.
func TestFrequencies(t *testing.T) {
	yarn := RoPE{Theta: 150000, Dims: 16, Scaling: RoPEYaRN, Factor: 32, Original: 4096, BetaFast: 32, BetaSlow: 1}
	unrounded := yarn
	unrounded.Unrounded = true
	for name, c := range map[string]struct {
		r        RoPE
		divisors []float32
		want     []float64
	}{
		"default": {RoPE{Theta: 10000, Dims: 8}, nil, []float64{1, 0.1, 0.01, 0.001}},
		"linear":  {RoPE{Theta: 10000, Dims: 8, Scaling: RoPELinear, Factor: 4}, nil, []float64{0.25, 0.025, 0.0025, 0.00025}},
		"divided": {RoPE{Theta: 10000, Dims: 8, Divisors: true}, []float32{1, 2, 4, 8}, []float64{1, 0.05, 0.0025, 0.000125}},
		"llama3": {RoPE{Theta: 500000, Dims: 16, Scaling: RoPELlama3, Factor: 8, Original: 64, LowFreq: 1, HighFreq: 4}, nil,
			[]float64{1, 0.07940301, 0.004700754, 0.0009115831, 0.0001767767, 3.428102e-05, 6.64787e-06, 1.289173e-06}},
		"yarn":      {yarn, nil, []float64{1, 0.225418, 0.05081327, 0.007755466, 0.0009144544, 1.818834e-05, 4.099978e-06, 9.24209e-07}},
		"unrounded": {unrounded, nil, []float64{1, 0.225418, 0.05081327, 0.006794959, 0.0004564839, 1.818834e-05, 4.099978e-06, 9.24209e-07}},
	} {
		if err := c.r.validate(16); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := c.r.Frequencies(c.divisors)
		for i, want := range c.want {
			if len(got) != len(c.want) || math.Abs(float64(got[i])-want) > 1e-6*want {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
				break
			}
		}
	}
}

// Kinds of layers, and numbers, that no model can have are refused.
func TestValidateKinds(t *testing.T) {
	for want, change := range map[string]func(*ModelProfile){
		"got kind_of of 1 layers":   func(p *ModelProfile) { p.KindOf = []int{0} },
		"got a layer of kind 1":     func(p *ModelProfile) { p.Kinds, p.KindOf = make([]LayerKind, 1), []int{0, 1} },
		"got a window of -1 tokens": func(p *ModelProfile) { p.Kinds = []LayerKind{{Window: -1}} },
		"got RoPE of theta 0":       func(p *ModelProfile) { p.Kinds = []LayerKind{{RoPE: RoPE{Dims: 4}}} },
		"got RoPE of 3 elements":    func(p *ModelProfile) { p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 3}}} },
		"got RoPE of 14 elements":   func(p *ModelProfile) { p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 14}}} },
		`got RoPE scaling "long"`:   func(p *ModelProfile) { p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 4, Scaling: "long"}}} },
		"got a RoPE factor of 0":    func(p *ModelProfile) { p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 4, Scaling: RoPELinear}}} },
		"got RoPE scaled from a context": func(p *ModelProfile) {
			p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 4, Scaling: RoPEYaRN, Factor: 2}}}
		},
		"got RoPE bounds 0 and 0": func(p *ModelProfile) {
			p.Kinds = []LayerKind{{RoPE: RoPE{Theta: 10, Dims: 4, Scaling: RoPELlama3, Factor: 2, Original: 9}}}
		},
		"got head_size -1":                   func(p *ModelProfile) { p.HeadSize = -1 },
		"got 4 heads of 1000000 elements":    func(p *ModelProfile) { p.HeadSize = 1000000 },
		"got sandwich_norm without pre_norm": func(p *ModelProfile) { p.SandwichNorm, p.PreNorm = true, false },
		`got qk_norm "all"`:                  func(p *ModelProfile) { p.QKNorm = "all" },
		"got logit_soft_cap -1":              func(p *ModelProfile) { p.LogitSoftCap = -1 },
		"got attn_scale +Inf":                func(p *ModelProfile) { p.AttnScale = float32(math.Inf(1)) },
	} {
		p := smallProfile()
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	p := smallProfile()
	p.Kinds, p.KindOf = []LayerKind{{}, {Window: 7}}, []int{1, 0}
	if err := p.Validate(); err != nil || p.Kind(0).Window != 7 || p.Kind(1).Window != 0 || p.KindIndex(0) != 1 {
		t.Errorf("got %v and %+v", err, p.Kind(0))
	}
}
