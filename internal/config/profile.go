// Package config says what a model is and what is to be done with it.
//
// ModelProfile describes a model: its sizes and the quirks of its family.
// OffloadStrategy describes how it is to be run: how much fast memory, which
// predictor, which cache policy. Both are plain values that nothing changes after they are made; what follows from
// them (head dimension, bytes per neuron) is a method, so that two places can
// never disagree.
package config

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// NormKind is the kind of a model's normalisation layers.
type NormKind string

// The kinds of normalisation.
const (
	LayerNorm NormKind = "layernorm" // subtract the mean, divide by the deviation
	RMSNorm   NormKind = "rmsnorm"   // divide by the root mean square
)

// ModelProfile is what a model is: everything that its decoder block needs to
// know apart from the weights. It is stored in the pack file as JSON.
//
// What layers share is said once; what may vary between them is a LayerKind.
type ModelProfile struct {
	Family         string     `json:"family"`          // a name that package arch knows
	VocabSize      int        `json:"vocab_size"`      // rows of the embedding and of the head
	EmbedDim       int        `json:"embed_dim"`       // width of the embedding; d unless projected
	HiddenSize     int        `json:"hidden_size"`     // d, the width of the residual stream
	Layers         int        `json:"layers"`          //
	Heads          int        `json:"heads"`           // query heads
	KVHeads        int        `json:"kv_heads"`        // key-value heads; divides Heads
	FFN            int        `json:"ffn"`             // neurons of one layer's MLP
	NeuronParts    int        `json:"neuron_parts"`    // vectors of d elements per neuron: 2 (up, down), 3 if gated
	MaxPositions   int        `json:"max_positions"`   // longest context
	PositionOffset int        `json:"position_offset"` // first row of the position table in use (OPT: 2)
	Activation     Activation `json:"activation"`      //
	Norm           NormKind   `json:"norm"`            //
	NormEps        float32    `json:"norm_eps"`        //
	NormAffine     bool       `json:"norm_affine"`     // norms have weight and bias
	PreNorm        bool       `json:"pre_norm"`        // norm before attention and MLP; after them if false
	FinalNorm      bool       `json:"final_norm"`      // a norm before the head
	Bias           bool       `json:"bias"`            // all linear layers have biases
	TiedHead       bool       `json:"tied_head"`       // the head is the token embedding
	BOS            int32      `json:"bos"`             // -1 if the model has none
	PAD            int32      `json:"pad"`             // -1 if the model has none
	EOS            []int32    `json:"eos"`             // any of them ends a text
	// Threshold is FATReLU's: what is not above it becomes 0.
	Threshold float32 `json:"threshold,omitempty"`

	HeadSize         int     `json:"head_size,omitempty"`         // width of an attention head; 0: HiddenSize / Heads
	LearnedPositions bool    `json:"learned_positions,omitempty"` // a table of positions is added to the embedding
	NormOffset       float32 `json:"norm_offset,omitempty"`       // added to the weights of RMS norms as they are stored
	SandwichNorm     bool    `json:"sandwich_norm,omitempty"`     // beside PreNorm: a norm of what attention and MLP add
	QKNorm           QKNorm  `json:"qk_norm,omitempty"`           // of queries and keys, before they are rotated
	QKVBias          bool    `json:"qkv_bias,omitempty"`          // without Bias: query, key and value have biases
	OutBias          bool    `json:"out_bias,omitempty"`          // without Bias: attention's output has one
	MLPBias          bool    `json:"mlp_bias,omitempty"`          // without Bias: the MLP has biases
	Sinks            bool    `json:"sinks,omitempty"`             // each head has a logit that joins its softmax and brings no value
	QKVClip          float32 `json:"qkv_clip,omitempty"`          // c: queries, keys and values are clamped to -c..c after their norms; 0: not
	AttnScale        float32 `json:"attn_scale,omitempty"`        // of scores; 0: 1 / sqrt(HeadDim)
	AttnSoftCap      float32 `json:"attn_soft_cap,omitempty"`     // c: scores s become c tanh(s/c); 0: none
	LogitSoftCap     float32 `json:"logit_soft_cap,omitempty"`    // the same of logits
	EmbedScale       float32 `json:"embed_scale,omitempty"`       // multiplies token embeddings; 0: 1
	ResidualScale    float32 `json:"residual_scale,omitempty"`    // multiplies what attention and MLP add; 0: 1
	LogitScale       float32 `json:"logit_scale,omitempty"`       // multiplies logits; 0: 1
	// Kinds are the kinds of layers, the zero kind where there are none.
	Kinds []LayerKind `json:"kinds,omitempty"`
	// KindOf, [Layers], says of which kind each layer is, the first where it is empty.
	KindOf []int `json:"kind_of,omitempty"`

	// Generation is how the checkpoint's makers want text to be generated.
	Generation Generation `json:"generation,omitzero"`
	// Synthetic says that the weights were drawn, not trained: speed and
	// sparsity mean something, the text and its perplexity do not. It is left
	// out of the JSON of real models.
	Synthetic bool `json:"synthetic,omitempty"`
	// ActiveShares, [layers], is the share of a synthetic model's neurons that are
	// active at a token, as they were drawn. Plans estimate by it; nothing that is
	// computed depends on it. It is empty where that is not known.
	ActiveShares []float64 `json:"active_shares,omitempty"`
}

// LayerKind is what may vary between the layers of a model.
type LayerKind struct {
	Window int  `json:"window,omitempty"` // attention sees this many tokens, its own included; 0: all
	RoPE   RoPE `json:"rope,omitzero"`
	FFN    int  `json:"ffn,omitempty"` // neurons of a layer's dense MLP; 0: the profile's FFN
	MoE    MoE  `json:"moe,omitzero"`  // in place of a dense MLP
}

// QKNorm is what the norms of queries and keys span.
type QKNorm string

// The spans: nothing, which is no norm, each head by itself, or all.
const (
	NoQKNorm      QKNorm = ""
	QKNormPerHead QKNorm = "head"
	QKNormWhole   QKNorm = "whole" // all heads of a token together
)

// Kind is the kind of a layer.
func (p ModelProfile) Kind(layer int) LayerKind {
	if len(p.Kinds) == 0 {
		return LayerKind{}
	}
	return p.Kinds[p.KindIndex(layer)]
}

// KindIndex is the index in Kinds of a layer's kind.
func (p ModelProfile) KindIndex(layer int) int {
	if len(p.KindOf) == 0 {
		return 0
	}
	return p.KindOf[layer]
}

// HeadDim is the width of one attention head.
func (p ModelProfile) HeadDim() int {
	if p.HeadSize > 0 {
		return p.HeadSize
	}
	return p.HiddenSize / p.Heads
}

// QueryDim is the width of one token's queries in one layer.
func (p ModelProfile) QueryDim() int { return p.HeadDim() * p.Heads }

// ScoreScale multiplies the scores of attention.
func (p ModelProfile) ScoreScale() float32 {
	if p.AttnScale > 0 {
		return p.AttnScale
	}
	return float32(1 / math.Sqrt(float64(p.HeadDim())))
}

// BundledNeurons is how many neurons of one layer are stored as bundles: all where
// some can be left out, none where the MLP is ordinary matrices.
func (p ModelProfile) BundledNeurons() int {
	if p.Sparse() {
		return p.FFN
	}
	return 0
}

// Bundles is BundledNeurons of the whole model.
func (p ModelProfile) Bundles() int64 { return int64(p.Layers) * int64(p.BundledNeurons()) }

// KVDim is the width of one token's keys (and of its values) in one layer.
func (p ModelProfile) KVDim() int { return p.HeadDim() * p.KVHeads }

// Neurons is the number of MLP neurons of the whole model.
func (p ModelProfile) Neurons() int64 { return int64(p.Layers) * int64(p.FFN) }

// Sparse reports whether the activation gives exact zeros, so that neurons
// can be left out.
func (p ModelProfile) Sparse() bool { return p.Activation.Sparse() }

// IsEOS reports whether id ends a text.
func (p ModelProfile) IsEOS(id int32) bool {
	return slices.Contains(p.EOS, id) || slices.Contains(p.Generation.EOS, id)
}

// BundleBytes is the size of one neuron's vectors stored as type t.
func (p ModelProfile) BundleBytes(t tensor.DType) int64 {
	return int64(p.NeuronParts) * t.RowBytes(p.HiddenSize)
}

// ShareOfNeurons reports whether a layer's neurons can be active to a share of f.
func ShareOfNeurons(f float64) bool { return f > 0 && f <= 1 }

// Sizes beyond any published model: a header that asks for more is corrupt,
// and below them no product of sizes overflows an int64.
const (
	maxDim     = 1 << 20
	maxVocab   = 1 << 24
	MostLayers = 1 << 12 // of a model
)

// Validate reports the first field whose value no model can have.
func (p ModelProfile) Validate() error {
	for _, f := range []struct {
		name     string
		got      int
		min, max int
	}{
		{"vocab_size", p.VocabSize, 1, maxVocab},
		{"embed_dim", p.EmbedDim, 1, maxDim},
		{"hidden_size", p.HiddenSize, 1, maxDim},
		{"layers", p.Layers, 1, MostLayers},
		{"heads", p.Heads, 1, maxDim},
		{"kv_heads", p.KVHeads, 1, maxDim},
		{"ffn", p.FFN, 1, maxDim},
		{"neuron_parts", p.NeuronParts, 2, 3},
		{"max_positions", p.MaxPositions, 1, maxVocab},
		{"position_offset", p.PositionOffset, 0, maxDim},
		{"head_size", p.HeadSize, 0, maxDim},
	} {
		if f.got < f.min || f.got > f.max {
			return fmt.Errorf("config: profile: got %s %d, want %d to %d", f.name, f.got, f.min, f.max)
		}
	}
	switch {
	case p.HeadSize == 0 && p.HiddenSize%p.Heads != 0:
		return fmt.Errorf("config: profile: got %d heads, want a divisor of the hidden size %d", p.Heads, p.HiddenSize)
	case p.Heads%p.KVHeads != 0:
		return fmt.Errorf("config: profile: got %d kv heads, want a divisor of %d heads", p.KVHeads, p.Heads)
	case p.Norm != LayerNorm && p.Norm != RMSNorm:
		return fmt.Errorf("config: profile: got norm %q, want layernorm or rmsnorm", p.Norm)
	case !(p.Threshold >= 0 && p.Threshold <= math.MaxFloat32) || p.Threshold > 0 && p.Activation != FATReLU:
		return fmt.Errorf("config: profile: got threshold %v with activation %q, want a number of at least 0, and 0 but for %s", p.Threshold, string(p.Activation), FATReLU)
	case !(p.NormEps >= 0 && p.NormEps < 1):
		return fmt.Errorf("config: profile: got norm_eps %v, want 0 to 1", p.NormEps)
	case p.QueryDim() > maxDim:
		return fmt.Errorf("config: profile: got %d heads of %d elements, want at most %d in all", p.Heads, p.HeadDim(), maxDim)
	case p.SandwichNorm && !p.PreNorm:
		return fmt.Errorf("config: profile: got sandwich_norm without pre_norm, want both")
	case p.QKNorm != NoQKNorm && p.QKNorm != QKNormPerHead && p.QKNorm != QKNormWhole:
		return fmt.Errorf("config: profile: got qk_norm %q, want %q, %q or none", p.QKNorm, QKNormPerHead, QKNormWhole)
	}
	if err := p.validateNumbers(); err != nil {
		return err
	}
	if err := p.validateKinds(); err != nil {
		return err
	}
	for _, id := range slices.Concat([]int32{p.BOS, p.PAD}, p.EOS, p.Generation.EOS) {
		if id < -1 || int(id) >= p.VocabSize {
			return fmt.Errorf("config: profile: got special token id %d, want -1 to %d", id, p.VocabSize-1)
		}
	}
	if n := len(p.ActiveShares); n != 0 && n != p.Layers {
		return fmt.Errorf("config: profile: got active_shares of %d layers, want %d or none", n, p.Layers)
	}
	for _, f := range p.ActiveShares {
		if !ShareOfNeurons(f) {
			return fmt.Errorf("config: profile: got %v in active_shares, want more than 0 and at most 1", f)
		}
	}
	return p.Activation.Validate()
}

func (p ModelProfile) validateNumbers() error {
	for name, v := range map[string]float32{
		"norm_offset": p.NormOffset, "qkv_clip": p.QKVClip, "attn_scale": p.AttnScale, "attn_soft_cap": p.AttnSoftCap,
		"logit_soft_cap": p.LogitSoftCap, "embed_scale": p.EmbedScale,
		"residual_scale": p.ResidualScale, "logit_scale": p.LogitScale,
	} {
		if !(v >= 0 && v <= math.MaxFloat32) {
			return fmt.Errorf("config: profile: got %s %v, want a number of at least 0", name, v)
		}
	}
	return nil
}

func (p ModelProfile) validateKinds() error {
	if n := len(p.KindOf); n != 0 && n != p.Layers {
		return fmt.Errorf("config: profile: got kind_of of %d layers, want %d or none", n, p.Layers)
	}
	for _, k := range p.KindOf {
		if k < 0 || k >= len(p.Kinds) {
			return fmt.Errorf("config: profile: got a layer of kind %d, want one of %d kinds", k, len(p.Kinds))
		}
	}
	for _, k := range p.Kinds {
		if k.Window < 0 || k.Window > maxVocab {
			return fmt.Errorf("config: profile: got a window of %d tokens, want 0 to %d", k.Window, maxVocab)
		}
		if err := k.RoPE.validate(p.HeadDim()); err != nil {
			return err
		}
		if k.FFN < 0 || k.FFN > maxDim {
			return fmt.Errorf("config: profile: got layers of %d neurons, want 0 to %d", k.FFN, maxDim)
		}
		if err := k.MoE.validate(); err != nil {
			return err
		}
		if n := float64(k.MoE.Experts) * float64(k.MoE.Width) * float64(p.HiddenSize) * float64(p.Layers); n > mostExpertNeurons {
			return fmt.Errorf("config: profile: got %d layers of %d experts of %d neurons of %d weights, want fewer", p.Layers, k.MoE.Experts, k.MoE.Width, p.HiddenSize)
		}
		if n := k.MoE.Experts; n != 0 && (n != p.Experts() || p.Activation.Sparse() || p.NeuronParts != 3) {
			return fmt.Errorf("config: profile: got %d experts of %d parts with activation %q beside layers of %d, want one number of experts of 3 parts, and no exact zeros", n, p.NeuronParts, string(p.Activation), p.Experts())
		}
	}
	return nil
}
