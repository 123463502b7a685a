// Package tinymoe writes small mixtures of experts of drawn weights, for tests.
package tinymoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A Shape is the sizes of a model. Heads are 64 wide, and there are two of keys.
type Shape struct{ Hidden, Layers, Heads, Experts, TopK, Width, Vocab, Positions int }

// Least is a shape of 2 MB, most of it experts.
func Least() Shape { return Shape{64, 4, 2, 16, 4, 64, 320, 512} }

// Write writes a Qwen 3 with experts, of drawn weights in BF16, to a directory. The same
// shape gives the same bytes.
func Write(dir string, s Shape) error {
	config := fmt.Sprintf(`{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_act": "silu", "hidden_size": %d,
		"num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": %d,
		"moe_intermediate_size": %d, "num_experts": %d, "num_experts_per_tok": %d, "norm_topk_prob": true, "decoder_sparse_step": 1,
		"mlp_only_layers": [], "vocab_size": %d, "max_position_embeddings": %d, "rms_norm_eps": 1e-6, "rope_theta": 10000,
		"tie_word_embeddings": false, "attention_bias": false, "torch_dtype": "bfloat16", "eos_token_id": 2, "bos_token_id": 1}`,
		s.Hidden, s.Layers, s.Heads, s.Width, s.Width, s.Experts, s.TopK, s.Vocab, s.Positions)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666); err != nil {
		return err
	}
	entries := s.tensors()
	header, err := source.BuildHeader(nil, entries, 8)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	if _, err = f.Write(header); err != nil {
		return errors.Join(err, f.Close())
	}
	for i, e := range entries {
		if _, err := f.Write(drawn(e, uint64(i))); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// tensors lists what such a checkpoint has.
func (s Shape) tensors() (entries []source.SafetensorsEntry) {
	add := func(name string, shape ...int64) {
		n := int64(2)
		for _, d := range shape {
			n *= d
		}
		entries = append(entries, source.SafetensorsEntry{Name: name, DType: "BF16", Shape: shape, Bytes: n})
	}
	d, q, width := int64(s.Hidden), int64(64*s.Heads), int64(s.Width)
	add("model.embed_tokens.weight", int64(s.Vocab), d)
	for l := range s.Layers {
		at := fmt.Sprintf("model.layers.%d.", l)
		add(at+"input_layernorm.weight", d)
		add(at+"post_attention_layernorm.weight", d)
		add(at+"self_attn.q_proj.weight", q, d)
		add(at+"self_attn.k_proj.weight", 128, d)
		add(at+"self_attn.v_proj.weight", 128, d)
		add(at+"self_attn.o_proj.weight", d, q)
		add(at+"self_attn.q_norm.weight", 64)
		add(at+"self_attn.k_norm.weight", 64)
		add(at+"mlp.gate.weight", int64(s.Experts), d)
		for e := range s.Experts {
			of := fmt.Sprintf("%smlp.experts.%d.", at, e)
			add(of+"gate_proj.weight", width, d)
			add(of+"up_proj.weight", width, d)
			add(of+"down_proj.weight", d, width)
		}
	}
	add("model.norm.weight", d)
	add("lm_head.weight", int64(s.Vocab), d)
	return entries
}

// drawn is the bytes of a tensor, whose values keep activations at about one.
func drawn(e source.SafetensorsEntry, seed uint64) []byte {
	b := make([]byte, e.Bytes)
	rng := rand.New(rand.NewPCG(seed, 1))
	scale := 1.0
	if n := len(e.Shape); n == 2 && !strings.Contains(e.Name, "embed") {
		scale = 1 / math.Sqrt(float64(e.Shape[1]))
	}
	var pool [1 << 12]uint16 // drawn once, and then from any place on: drawing takes longest
	for i := range pool {
		v := 1.0
		if len(e.Shape) == 2 {
			v = rng.NormFloat64() * scale
		}
		pool[i] = uint16(math.Float32bits(float32(v)) >> 16)
	}
	row := int(tensor.BF16.RowBytes(int(e.Shape[len(e.Shape)-1])))
	for at := 0; at < len(b); at += row {
		from := rng.IntN(len(pool))
		for i := 0; i < row; i += 2 {
			binary.LittleEndian.PutUint16(b[at+i:], pool[(from+i/2)%len(pool)])
		}
	}
	return b
}
