// Package tiny embeds the default model: a trained ReLU OPT language model of
// 5.9 million parameters (6 layers, d = 256, ffn = 1024, 4,096 tokens, float16)
// whose training text was public-domain books. It exists so that every command
// works on a fresh machine; it fits in a processor's cache, so speed ratios
// measured on it prove nothing.
package tiny

import "embed"

// Files is the model as a Hugging Face checkpoint directory.
//
//go:embed config.json merges.txt vocab.json model.safetensors special_tokens_map.json tokenizer_config.json
var Files embed.FS

// Sidecar is what `sparseflow train tiny` learned on the bundled text.
//
//go:embed tiny.side
var Sidecar []byte
