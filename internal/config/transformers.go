package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// SparseFlowConfig is a model and what is to be done with it.
type SparseFlowConfig struct {
	Profile  ModelProfile
	Strategy OffloadStrategy
}

// FromTransformersConfig reads the config.json that Hugging Face's
// transformers write beside a checkpoint and joins it with a strategy.
// Only model_type "opt" is known so far.
func FromTransformersConfig(hf []byte, s OffloadStrategy) (SparseFlowConfig, error) {
	if err := s.Validate(); err != nil {
		return SparseFlowConfig{}, err
	}
	p, err := ProfileFromTransformers(hf)
	if err != nil {
		return SparseFlowConfig{}, err
	}
	return SparseFlowConfig{Profile: p, Strategy: s}, nil
}

// ProfileFromTransformers reads the model half of FromTransformersConfig.
func ProfileFromTransformers(hf []byte) (ModelProfile, error) {
	var kind struct {
		ModelType *string `json:"model_type"`
	}
	if err := json.Unmarshal(hf, &kind); err != nil {
		return ModelProfile{}, fmt.Errorf("config: parse config.json: %w", err)
	}
	if kind.ModelType == nil {
		return ModelProfile{}, fmt.Errorf("config: config.json: got no model_type, want \"opt\"")
	}
	if *kind.ModelType != "opt" {
		return ModelProfile{}, fmt.Errorf("config: config.json: got model_type %q, want \"opt\"", *kind.ModelType)
	}
	return optProfile(hf)
}

// optConfig is OPTConfig of transformers. Pointers tell an absent field,
// which takes OPTConfig's default, from one that is there.
type optConfig struct {
	VocabSize       *count    `json:"vocab_size"`
	HiddenSize      *count    `json:"hidden_size"`
	Layers          *count    `json:"num_hidden_layers"`
	FFN             *count    `json:"ffn_dim"`
	Heads           *count    `json:"num_attention_heads"`
	MaxPositions    *count    `json:"max_position_embeddings"`
	EmbedDim        *count    `json:"word_embed_proj_dim"`
	PreNorm         *bool     `json:"do_layer_norm_before"`
	RemoveFinalNorm *bool     `json:"_remove_final_layer_norm"`
	Bias            *bool     `json:"enable_bias"`
	NormAffine      *bool     `json:"layer_norm_elementwise_affine"`
	Tied            *bool     `json:"tie_word_embeddings"`
	Activation      *string   `json:"activation_function"`
	BOS             *tokenIDs `json:"bos_token_id"`
	EOS             *tokenIDs `json:"eos_token_id"`
	PAD             *tokenIDs `json:"pad_token_id"`
}

// count is a whole number, which some tools write as 768.0.
type count int

func (c *count) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil || f != math.Trunc(f) || math.Abs(f) > maxVocab {
		return fmt.Errorf("got %s, want a whole number", b)
	}
	*c = count(f)
	return nil
}

// tokenIDs is a token id, a list of them, or null for none.
type tokenIDs []int32

func (t *tokenIDs) UnmarshalJSON(b []byte) error {
	var list []count
	if !bytes.HasPrefix(b, []byte("[")) {
		var one *count
		if err := json.Unmarshal(b, &one); err != nil {
			return fmt.Errorf("got %s, want a token id or a list of them", b)
		}
		if one != nil {
			list = []count{*one}
		}
	} else if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("got %s, want a token id or a list of them", b)
	}
	*t = make(tokenIDs, len(list))
	for i, id := range list {
		(*t)[i] = int32(id)
	}
	return nil
}

// first is the first id, or -1 where the config says there is none.
func (t tokenIDs) first() int32 {
	if len(t) == 0 {
		return -1
	}
	return t[0]
}

// optProfile reads an OPTConfig; see transformers,
// models/opt/configuration_opt.py, for the fields and their defaults.
func optProfile(hf []byte) (ModelProfile, error) {
	var c optConfig
	if err := json.Unmarshal(hf, &c); err != nil {
		return ModelProfile{}, fmt.Errorf("config: parse config.json: %w", err)
	}
	for _, f := range []struct {
		name  string
		value *count
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"num_hidden_layers", c.Layers},
		{"ffn_dim", c.FFN}, {"num_attention_heads", c.Heads}, {"max_position_embeddings", c.MaxPositions},
	} {
		if f.value == nil {
			return ModelProfile{}, fmt.Errorf("config: config.json: got no %s, want a whole number", f.name)
		}
	}
	act, err := ParseActivation(or(c.Activation, "relu"))
	if err != nil {
		return ModelProfile{}, err
	}
	preNorm := or(c.PreNorm, true)
	p := ModelProfile{
		Family:         "opt",
		VocabSize:      int(*c.VocabSize),
		EmbedDim:       int(or(c.EmbedDim, *c.HiddenSize)),
		HiddenSize:     int(*c.HiddenSize),
		Layers:         int(*c.Layers),
		Heads:          int(*c.Heads),
		KVHeads:        int(*c.Heads),
		FFN:            int(*c.FFN),
		NeuronParts:    2,
		MaxPositions:   int(*c.MaxPositions),
		PositionOffset: 2,
		Activation:     act,
		Norm:           LayerNorm,
		NormEps:        1e-5, // torch.nn.LayerNorm's default
		NormAffine:     or(c.NormAffine, true),
		PreNorm:        preNorm,
		FinalNorm:      preNorm && !or(c.RemoveFinalNorm, false),
		Bias:           or(c.Bias, true),
		TiedHead:       or(c.Tied, true),
		BOS:            or(c.BOS, tokenIDs{2}).first(),
		PAD:            or(c.PAD, tokenIDs{1}).first(),
		EOS:            or(c.EOS, tokenIDs{2}),
	}
	return p, p.Validate()
}

// or is *v, or def where the field was absent or null.
func or[T any](v *T, def T) T {
	if v == nil {
		return def
	}
	return *v
}
