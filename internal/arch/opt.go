package arch

import "github.com/sparseflow/sparseflow/internal/config"

// opt is OPT (Zhang et al., "OPT: Open Pre-trained Transformer Language Models",
// arXiv:2205.01068), as transformers' OPTForCausalLM or OPTModel saves it
// (models/opt/modeling_opt.py). What varies between published files:
//
//   - names start with "model.decoder.", "decoder.", "model." or nothing;
//   - models without biases or without affine norms have no such tensors;
//   - opt-350m norms after attention and MLP, has no final norm, and projects
//     between the embedding's width and the model's;
//   - lm_head.weight is stored although it is tied to the embedding, in which
//     case it is ignored, as transformers ignores it.
func opt() family {
	return family{name: "opt", profile: optProfile, names: func() names {
		return names{
			prefixes: []string{"model.decoder.", "decoder.", "model.", ""},
			probe:    "embed.positions", // which every OPT has once
			heads:    transformersHeads(),
			layer:    "layers.%d.",
			stems: map[string]string{
				"embed.tokens":    "embed_tokens",
				"embed.positions": "embed_positions",
				"project.in":      "project_in",
				"project.out":     "project_out",
				"final_norm":      "final_layer_norm",
				"attn_norm":       "self_attn_layer_norm",
				"attn.q":          "self_attn.q_proj",
				"attn.k":          "self_attn.k_proj",
				"attn.v":          "self_attn.v_proj",
				"attn.o":          "self_attn.out_proj",
				// A layer's final_layer_norm is the norm of its MLP.
				"mlp_norm": "final_layer_norm",
				"mlp.up":   "fc1",
				"mlp.down": "fc2",
			},
		}
	}}
}

// optProfile reads an OPTConfig; see transformers,
// models/opt/configuration_opt.py, for the fields and their defaults.
func optProfile(r *reader) config.ModelProfile {
	vocab := r.size("vocab_size", 50272)
	hidden := r.size("hidden_size", 768)
	heads := r.size("num_attention_heads", 12)
	embed := hidden
	if r.given("word_embed_proj_dim") {
		embed = r.size("word_embed_proj_dim", hidden)
	}
	preNorm := r.flag("do_layer_norm_before", true)
	return config.ModelProfile{
		VocabSize:        vocab,
		EmbedDim:         embed,
		HiddenSize:       hidden,
		Layers:           r.size("num_hidden_layers", 12),
		Heads:            heads,
		KVHeads:          heads,
		FFN:              r.size("ffn_dim", 3072),
		NeuronParts:      2,
		MaxPositions:     r.size("max_position_embeddings", 2048),
		LearnedPositions: true,
		PositionOffset:   2,
		Activation:       r.activation("activation_function", config.ReLU),
		Norm:             config.LayerNorm,
		NormEps:          1e-5, // torch.nn.LayerNorm's default
		NormAffine:       r.flag("layer_norm_elementwise_affine", true),
		PreNorm:          preNorm,
		// Post-norm models end on a norm as it is.
		FinalNorm: preNorm && !r.flag("_remove_final_layer_norm", false),
		Bias:      r.flag("enable_bias", true),
		TiedHead:  r.flag("tie_word_embeddings", true),
		BOS:       r.token("bos_token_id", 2, vocab),
		PAD:       r.token("pad_token_id", 1, vocab),
		EOS:       r.tokens("eos_token_id", []int32{2}, vocab),
	}
}
