package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// SparseFlowConfig is a model and what is to be done with it.
type SparseFlowConfig struct {
	Profile  ModelProfile    // the model
	Strategy OffloadStrategy // what is to be done with it
}

// FromTransformersConfig reads the config.json that Hugging Face's transformers
// write beside a checkpoint and joins it with a strategy.
func FromTransformersConfig(hf []byte, s OffloadStrategy) (SparseFlowConfig, error) {
	if err := s.Validate(); err != nil {
		return SparseFlowConfig{}, err
	}
	p, err := arch.ProfileFromTransformers(hf)
	if err != nil {
		return SparseFlowConfig{}, err
	}
	return SparseFlowConfig{Profile: mirror.To[ModelProfile](p), Strategy: s}, nil
}

// ModelProfile is what a model is: everything that its decoder block needs to
// know apart from the weights. It is stored in the pack file as JSON.
type ModelProfile struct {
	Family         string     `json:"family"`          // "opt", "llama", ...
	VocabSize      int        `json:"vocab_size"`      // rows of the embedding and of the head
	EmbedDim       int        `json:"embed_dim"`       // width of the embedding; HiddenSize unless projected
	HiddenSize     int        `json:"hidden_size"`     // width of the residual stream
	Layers         int        `json:"layers"`          // decoder blocks
	Heads          int        `json:"heads"`           // query heads
	KVHeads        int        `json:"kv_heads"`        // key-value heads; divides Heads
	FFN            int        `json:"ffn"`             // neurons of one layer's MLP
	NeuronParts    int        `json:"neuron_parts"`    // vectors of HiddenSize elements per neuron: 2 (up, down), 3 if gated
	MaxPositions   int        `json:"max_positions"`   // longest context
	PositionOffset int        `json:"position_offset"` // first row of the position table in use (OPT: 2)
	Activation     Activation `json:"activation"`      // between a neuron's two halves
	Norm           NormKind   `json:"norm"`            // kind of the normalisation layers
	NormEps        float32    `json:"norm_eps"`        // added to what a norm divides by
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

// HeadDim is the width of one attention head.
func (p ModelProfile) HeadDim() int { return p.internal().HeadDim() }

// KVDim is the width of one token's keys (and of its values) in one layer.
func (p ModelProfile) KVDim() int { return p.internal().KVDim() }

// Neurons is the number of MLP neurons of the whole model.
func (p ModelProfile) Neurons() int64 { return p.internal().Neurons() }

// Sparse reports whether the activation gives exact zeros, so that neurons can
// be left out.
func (p ModelProfile) Sparse() bool { return p.Activation.Sparse() }

// IsEOS reports whether id ends a text.
func (p ModelProfile) IsEOS(id int32) bool { return p.internal().IsEOS(id) }

// BundleBytes is the size of one neuron's vectors stored as type t.
func (p ModelProfile) BundleBytes(t DType) int64 { return p.internal().BundleBytes(tensor.DType(t)) }

// Validate reports the first field whose value no model can have.
func (p ModelProfile) Validate() error { return p.internal().Validate() }

func (p ModelProfile) internal() config.ModelProfile { return mirror.To[config.ModelProfile](p) }

// Activation is the function between a neuron's two halves, by the name that
// Hugging Face configurations use: relu, gelu, gelu_new, quick_gelu or silu.
type Activation string

// Sparse reports whether the function gives exact zeros, which of these relu
// alone does.
func (a Activation) Sparse() bool { return config.Activation(a).Sparse() }

// Validate reports a value that is no function known here.
func (a Activation) Validate() error { return config.Activation(a).Validate() }

// LayerKind is what may vary between the layers of a model.
type LayerKind struct {
	Window int  `json:"window,omitempty"` // attention sees this many tokens, its own included; 0: all
	RoPE   RoPE `json:"rope,omitzero"`    // how queries and keys are rotated
	FFN    int  `json:"ffn,omitempty"`    // neurons of a layer's dense MLP; 0: the profile's FFN
	MoE    MoE  `json:"moe,omitzero"`     // in place of a dense MLP
}

// MoE is a mixture of experts: MLPs of Width neurons, of which a router names TopK for
// each token. The zero MoE is none.
type MoE struct {
	Experts int    `json:"experts"`        // of a layer
	TopK    int    `json:"top_k"`          // of each token
	Width   int    `json:"width"`          // neurons of an expert
	Router  Router `json:"router"`         // how they are chosen
	Bias    bool   `json:"bias,omitempty"` // the experts' matrices have biases
	// Shared is the width of an expert that every token uses, 0 if there is none.
	Shared     int  `json:"shared,omitempty"`
	SharedGate bool `json:"shared_gate,omitempty"` // a product of the input scales its output
}

// Router is how experts are chosen by scores, functions of logits, and weighted.
type Router struct {
	Kind      RouterKind `json:"kind"`                 // the function that makes scores
	Bias      bool       `json:"bias,omitempty"`       // added to logits
	ScoreBias bool       `json:"score_bias,omitempty"` // added to scores for the choice alone
	Groups    int        `json:"groups,omitempty"`     // runs of experts, of which the best are chosen from
	TopGroups int        `json:"top_groups,omitempty"` // how many
	Normalize bool       `json:"normalize,omitempty"`  // weights are divided by their sum plus Epsilon
	Epsilon   float32    `json:"epsilon,omitempty"`    // see Normalize
	Scale     float32    `json:"scale,omitempty"`      // multiplies weights; 0: 1
}

// RouterKind is the function that makes scores: softmax, softmax_chosen or sigmoid.
type RouterKind string

// RoPE is how queries and keys are rotated by their positions. The zero RoPE
// rotates nothing.
type RoPE struct {
	Theta       float64     `json:"theta"`                 // base of the frequencies
	Dims        int         `json:"dims"`                  // elements of a head that rotate, from the first on; the rest stay
	Interleaved bool        `json:"interleaved,omitempty"` // element 2i pairs with 2i+1; else i with i+Dims/2
	Divisors    bool        `json:"divisors,omitempty"`    // the tensor rope.divisors holds what each frequency is divided by
	Scaling     RoPEScaling `json:"scaling,omitempty"`     // how frequencies are changed for longer contexts
	Factor      float64     `json:"factor,omitempty"`      // contexts become so many times longer
	Original    int         `json:"original,omitempty"`    // context that the model was trained with before
	LowFreq     float64     `json:"low_freq,omitempty"`    // llama3: wavelengths above Original/LowFreq are scaled
	HighFreq    float64     `json:"high_freq,omitempty"`   // llama3: and those below Original/HighFreq are not
	BetaFast    float64     `json:"beta_fast,omitempty"`   // yarn: rotations within Original from which nothing is scaled
	BetaSlow    float64     `json:"beta_slow,omitempty"`   // yarn: and below which everything is
	Unrounded   bool        `json:"unrounded,omitempty"`   // yarn: its bounds are not rounded to whole elements
	Magnitude   float64     `json:"magnitude,omitempty"`   // multiplies what is rotated; 0: 1
}

// RoPEScaling is how frequencies are changed for contexts longer than those that a
// model was first trained with: not at all, linear, llama3 or yarn.
type RoPEScaling string

// QKNorm is what the norms of queries and keys span: nothing, which is no norm, or
// "head", each head by itself.
type QKNorm string

// NormKind is the kind of a model's normalisation layers: layernorm or rmsnorm.
type NormKind string

// Generation is what a checkpoint's generation_config.json says of how its text
// is to be generated, where whoever asks for text says nothing else. It is zero
// where there is no such file.
type Generation struct {
	EOS       []int32  `json:"eos,omitempty"`        // end a text besides the profile's own
	Stop      []string `json:"stop,omitempty"`       // end a text before they begin
	MaxTokens int      `json:"max_tokens,omitempty"` // most tokens to generate
	// Sample says to draw tokens rather than take the likeliest. What follows is
	// zero where it is off or not said, and as in Sampling.
	Sample            bool    `json:"sample,omitempty"`
	Temperature       float32 `json:"temperature,omitempty"`        // divides the logits
	TopK              int     `json:"top_k,omitempty"`              // draw from this many of the likeliest
	TopP              float32 `json:"top_p,omitempty"`              // draw from those that hold this mass
	MinP              float32 `json:"min_p,omitempty"`              // least share of the likeliest's probability
	RepetitionPenalty float32 `json:"repetition_penalty,omitempty"` // on ids of the context
}
