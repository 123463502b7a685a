package config

import (
	"strings"
	"testing"
)

// Sizes whose product overflows are refused, whatever each is.
func TestMostExperts(t *testing.T) {
	p := ModelProfile{
		VocabSize: 8, EmbedDim: maxDim, HiddenSize: maxDim, Layers: MostLayers, Heads: 1, KVHeads: 1, FFN: 1, NeuronParts: 3, MaxPositions: 1,
		Activation: SiLU, Norm: RMSNorm, BOS: -1, PAD: -1, Kinds: []LayerKind{{}},
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	p.Kinds[0].MoE = MoE{Experts: mostExperts, TopK: 1, Width: 1, Router: Router{Kind: RouterSoftmax}}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	p.Kinds[0].MoE.Width = maxDim
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "16384 experts of 1048576 neurons") {
		t.Errorf("got %v, want an error about the experts", err)
	}
}
