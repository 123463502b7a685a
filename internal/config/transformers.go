package config

import (
	"fmt"
	"strings"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// SyntheticKey is the key of a config.json that is true where the weights were
// drawn and not trained; transformers keep keys that they do not know.
const SyntheticKey = "sparseflow_synthetic"

// ActiveKey is the key of a config.json that holds ModelProfile.ActiveShares.
const ActiveKey = "sparseflow_active_shares"

// ProfileFromTransformers reads the config.json that Hugging Face's transformers
// write beside a checkpoint. Only model_type "opt" is known so far.
func ProfileFromTransformers(hf []byte) (ModelProfile, error) {
	p, _, err := ReadTransformers(hf, nil)
	return p, err
}

// ReadTransformers reads a config.json and, unless it is nil, the
// generation_config.json beside it. Notices tell what of them is not followed.
//
// A field that is absent has the default of the reference implementation. A null
// means what None means there: no such token, no, or for word_embed_proj_dim the
// hidden size. Keys that say nothing about inference are ignored, and so are
// special tokens that the vocabulary does not have. A generation_config.json
// that cannot be read stops no model.
func ReadTransformers(hf, generation []byte) (p ModelProfile, notices []string, err error) {
	r, err := newReader("config.json", hf)
	if err != nil {
		return ModelProfile{}, nil, err
	}
	if err := r.family(); err != nil {
		return ModelProfile{}, nil, err
	}
	p = optProfile(r)
	if r.err != nil {
		return ModelProfile{}, nil, r.err
	}
	notices = r.notices
	if generation != nil {
		g, err := newReader("generation_config.json", generation)
		if err != nil {
			notices = append(notices, fmt.Sprintf("generation_config.json is not followed: %v", err))
		} else {
			p.Generation = readGeneration(g, p.VocabSize)
			notices = append(notices, g.notices...)
		}
	}
	if err := p.Validate(); err != nil {
		return ModelProfile{}, nil, err
	}
	return p, notices, nil
}

// optProfile reads an OPTConfig; see transformers,
// models/opt/configuration_opt.py, for the fields and their defaults.
func optProfile(r *reader) ModelProfile {
	vocab := r.size("vocab_size", 50272)
	hidden := r.size("hidden_size", 768)
	heads := r.size("num_attention_heads", 12)
	embed := hidden
	if r.given("word_embed_proj_dim") {
		embed = r.size("word_embed_proj_dim", hidden)
	}
	layers := r.size("num_hidden_layers", 12)
	preNorm := r.flag("do_layer_norm_before", true)
	return ModelProfile{
		Family:         "opt",
		VocabSize:      vocab,
		EmbedDim:       embed,
		HiddenSize:     hidden,
		Layers:         layers,
		Heads:          heads,
		KVHeads:        heads,
		FFN:            r.size("ffn_dim", 3072),
		NeuronParts:    2,
		MaxPositions:   r.size("max_position_embeddings", 2048),
		PositionOffset: 2,
		Activation:     r.activation("activation_function", ReLU),
		Norm:           LayerNorm,
		NormEps:        1e-5, // torch.nn.LayerNorm's default
		NormAffine:     r.flag("layer_norm_elementwise_affine", true),
		PreNorm:        preNorm,
		// Post-norm models end on a norm as it is.
		FinalNorm: preNorm && !r.flag("_remove_final_layer_norm", false),
		Bias:      r.flag("enable_bias", true),
		TiedHead:  r.flag("tie_word_embeddings", true),
		BOS:       r.token("bos_token_id", 2, vocab),
		PAD:       r.token("pad_token_id", 1, vocab),
		EOS:       r.tokens("eos_token_id", []int32{2}, vocab),
		Synthetic: r.flag(SyntheticKey, false),

		ActiveShares: r.shares(ActiveKey, layers),
	}
}

// TransformersDType is the element type of a checkpoint's weights by its
// config.json, F32 where that names none, as the reference implementation takes it.
func TransformersDType(hf []byte) (tensor.DType, error) {
	r, err := newReader("config.json", hf)
	if err != nil {
		return 0, err
	}
	key := "torch_dtype"
	if !r.given(key) {
		key = "dtype" // its name in later versions
	}
	if !r.given(key) {
		return tensor.F32, nil
	}
	const want = "float32, float16 or bfloat16"
	switch name := r.text(key, want); strings.TrimPrefix(name, "torch.") {
	case "float32":
		return tensor.F32, nil
	case "float16":
		return tensor.F16, nil
	case "bfloat16":
		return tensor.BF16, nil
	}
	r.fail(key, want)
	return 0, r.err
}
