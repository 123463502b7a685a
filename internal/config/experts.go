package config

import (
	"fmt"
	"math"
)

// MoE is a feed-forward part that is a mixture of experts: MLPs of Width neurons, of
// which a router names TopK for each token (Shazeer et al., arXiv:1701.06538). The
// zero MoE is none.
type MoE struct {
	Experts int    `json:"experts"` // E
	TopK    int    `json:"top_k"`   // k, of each token
	Width   int    `json:"width"`   // I, neurons of an expert
	Router  Router `json:"router"`
	Bias    bool   `json:"bias,omitempty"` // the experts' matrices have biases
	// Shared is the width of an expert that every token uses, 0 if there is none.
	// With SharedGate its output is multiplied by the sigmoid of a product of the
	// input.
	Shared     int  `json:"shared,omitempty"`
	SharedGate bool `json:"shared_gate,omitempty"`
}

// Router is how experts are chosen and weighted. Logits are the product of the
// router's matrix, [E, d], with the layer's input, plus its bias if it has one.
// Scores are a function of them. The TopK highest scores, ScoreBias added where there
// is one, are chosen; of equals the expert of the lower number.
type Router struct {
	Kind      RouterKind `json:"kind"`
	Bias      bool       `json:"bias,omitempty"`       // added to logits
	ScoreBias bool       `json:"score_bias,omitempty"` // added to scores for the choice alone
	// Groups, if more than one, cut the experts into as many runs. Only those of the
	// TopGroups best are chosen from; a group is as good as the sum of its two highest
	// scores.
	Groups    int `json:"groups,omitempty"`
	TopGroups int `json:"top_groups,omitempty"`
	// Normalize divides the weights of the chosen by their sum plus Epsilon.
	Normalize bool    `json:"normalize,omitempty"`
	Epsilon   float32 `json:"epsilon,omitempty"`
	Scale     float32 `json:"scale,omitempty"` // multiplies the weights; 0: 1
}

// RouterKind is the function that makes scores, which are also the weights.
type RouterKind string

// The kinds.
const (
	RouterSoftmax       RouterKind = "softmax"        // of all logits
	RouterSoftmaxChosen RouterKind = "softmax_chosen" // logits choose, weights are the softmax of those chosen
	RouterSigmoid       RouterKind = "sigmoid"
)

// Beyond any published model, and below what overflows an int64 in bytes.
const (
	mostExperts       = 1 << 14
	mostExpertNeurons = 1 << 56 // weights of one part of all experts
)

func (m MoE) validate() error {
	if m == (MoE{}) {
		return nil
	}
	r := m.Router
	switch {
	case m.Experts < 1 || m.Experts > mostExperts:
		return fmt.Errorf("config: profile: got %d experts, want 1 to %d", m.Experts, mostExperts)
	case m.TopK < 1 || m.TopK > m.Experts:
		return fmt.Errorf("config: profile: got %d experts for each token, want 1 to the layer's %d", m.TopK, m.Experts)
	case m.Width < 1 || m.Width > maxDim:
		return fmt.Errorf("config: profile: got experts of %d neurons, want 1 to %d", m.Width, maxDim)
	case m.Shared < 0 || m.Shared > maxDim || m.SharedGate && m.Shared == 0:
		return fmt.Errorf("config: profile: got a shared expert of %d neurons, want 0 to %d, and not 0 with a gate", m.Shared, maxDim)
	case r.Kind != RouterSoftmax && r.Kind != RouterSoftmaxChosen && r.Kind != RouterSigmoid:
		return fmt.Errorf("config: profile: got a router of kind %q, want %s, %s or %s", r.Kind, RouterSoftmax, RouterSoftmaxChosen, RouterSigmoid)
	case !(r.Epsilon >= 0 && r.Epsilon < 1) || !(r.Scale >= 0 && r.Scale <= math.MaxFloat32):
		return fmt.Errorf("config: profile: got a router of epsilon %v and scale %v, want 0 to 1 and a number of at least 0", r.Epsilon, r.Scale)
	}
	if g := r.Groups; g != 0 {
		switch {
		case g < 0 || m.Experts%g != 0 || r.TopGroups < 1 || r.TopGroups > g:
			return fmt.Errorf("config: profile: got %d of %d groups of %d experts, want groups of one size, and one of them at least", r.TopGroups, g, m.Experts)
		case m.Experts/g*r.TopGroups < m.TopK:
			return fmt.Errorf("config: profile: got %d experts for each token from %d groups of %d, want as many in the groups", m.TopK, r.TopGroups, m.Experts/g)
		}
	}
	return nil
}

// MoE is a layer's mixture of experts, zero if the layer has none.
func (p ModelProfile) MoE(layer int) MoE { return p.Kind(layer).MoE }

// Experts is how many experts each layer has that has any, 0 where none has.
func (p ModelProfile) Experts() int {
	for _, k := range p.Kinds {
		if k.MoE.Experts > 0 {
			return k.MoE.Experts
		}
	}
	return 0
}

// MostTopK is the most experts that a token uses in a layer.
func (p ModelProfile) MostTopK() (most int) {
	for _, k := range p.Kinds {
		most = max(most, k.MoE.TopK)
	}
	return most
}

// Units is how many units a layer has that has any: neurons that can be left out or
// experts. A unit is what is cached, read, placed and counted as one.
func (p ModelProfile) Units() int {
	if n := p.Experts(); n > 0 {
		return n
	}
	return p.BundledNeurons()
}

// HasUnits reports whether a layer has units.
func (p ModelProfile) HasUnits(layer int) bool {
	return p.Sparse() || p.MoE(layer).Experts > 0
}

// DenseWidth is how many neurons the MLP of a layer without units has.
func (p ModelProfile) DenseWidth(layer int) int {
	if n := p.Kind(layer).FFN; n > 0 {
		return n
	}
	return p.FFN
}

// An ExpertShape is one part of every expert of a layer: Name has the matrices
// [Rows, Cols] of all, one after the other.
type ExpertShape struct {
	Name       string
	Rows, Cols int
}

// ExpertTensors are the parts of a layer's experts, gate, up and down, none where the
// layer has no experts. Biases, where there are any, are called Name + ".bias",
// [experts, Rows], and are among LayerTensors.
func (p ModelProfile) ExpertTensors(layer int) []ExpertShape {
	m := p.MoE(layer)
	if m.Experts == 0 {
		return nil
	}
	at := layerPrefix(layer) + "moe.experts."
	return []ExpertShape{
		{at + "gate", m.Width, p.HiddenSize},
		{at + "up", m.Width, p.HiddenSize},
		{at + "down", p.HiddenSize, m.Width},
	}
}

// moe lists what of a layer's mixture of experts is no expert.
func (l *tensorList) moe(p ModelProfile, layer int) {
	m, at, d := p.MoE(layer), layerPrefix(layer)+"moe.", p.HiddenSize
	l.linear(at+"router", m.Experts, d, m.Router.Bias)
	if m.Router.ScoreBias {
		l.vector(at+"score_bias", m.Experts)
	}
	if m.Bias {
		for _, x := range p.ExpertTensors(layer) {
			*l = append(*l, TensorShape{Name: x.Name + ".bias", Rows: m.Experts, Cols: x.Rows, Vector: true})
		}
	}
	if m.Shared == 0 {
		return
	}
	l.matrix(at+"shared.gate.weight", m.Shared, d)
	l.matrix(at+"shared.up.weight", m.Shared, d)
	l.matrix(at+"shared.down.weight", d, m.Shared)
	if m.SharedGate {
		l.matrix(at+"shared_gate.weight", 1, d)
	}
}
