package engine_test

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Golden checkpoints give the reference's values as GGUF files too, used where they
// lie: names, permuted rows, norms' weights and divided frequencies are those of
// llama.cpp's converter.
func TestGoldenGGUF(t *testing.T) {
	for name, architecture := range map[string]string{
		"llama": "llama", "llama3-tied": "llama", "llama-bias": "llama", "mistral-window": "llama",
		"qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3",
	} {
		t.Run(name, func(t *testing.T) {
			src := checkpoints(t)["families/"+name]
			path := filepath.Join(t.TempDir(), name+".gguf")
			writeGGUF(t, src, architecture, path)
			found, err := hub.Find(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, share := range []float64{1, 0.5} {
				p, err := convert.Open(t.Context(), found, t.TempDir(), convert.Options{})
				if err != nil {
					t.Fatal(err)
				}
				e, err := engine.Open(t.Context(), p, engine.Options{Strategy: strategy(config.Dense, share)})
				if err != nil {
					t.Fatal(err)
				}
				checkGolden(t, readGolden(t, goldenDir+"families/"+name+"/golden.json"), e, nil)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// hfConfig is what of a config.json the metadata need.
type hfConfig struct {
	Hidden    int     `json:"hidden_size"`
	Layers    int     `json:"num_hidden_layers"`
	Heads     int     `json:"num_attention_heads"`
	KVHeads   int     `json:"num_key_value_heads"`
	HeadDim   int     `json:"head_dim"`
	FFN       int     `json:"intermediate_size"`
	Positions int     `json:"max_position_embeddings"`
	Eps       float32 `json:"rms_norm_eps"`
	Window    int     `json:"sliding_window"`
	RoPE      struct {
		Theta    float64 `json:"rope_theta"`
		Type     string  `json:"rope_type"`
		Factor   float64
		Low      float64 `json:"low_freq_factor"`
		High     float64 `json:"high_freq_factor"`
		Original float64 `json:"original_max_position_embeddings"`
	} `json:"rope_parameters"`
}

func writeGGUF(t *testing.T, src fs.FS, architecture, path string) {
	t.Helper()
	raw, err := fs.ReadFile(src, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	var c hfConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if architecture == "gemma3" {
		c.RoPE.Theta = 1e6
	}
	h := gguf.Header{Metadata: map[string]any{"general.architecture": architecture}}
	for key, v := range map[string]any{
		"embedding_length": uint32(c.Hidden), "block_count": uint32(c.Layers), "attention.head_count": uint32(c.Heads),
		"attention.head_count_kv": uint32(c.KVHeads), "attention.key_length": uint32(c.HeadDim), "attention.value_length": uint32(c.HeadDim),
		"feed_forward_length": uint32(c.FFN), "context_length": uint32(c.Positions), "attention.layer_norm_rms_epsilon": c.Eps,
		"rope.freq_base": float32(c.RoPE.Theta), "rope.dimension_count": uint32(c.HeadDim),
	} {
		h.Metadata[architecture+"."+key] = v
	}
	if c.Window > 0 {
		h.Metadata[architecture+".attention.sliding_window"] = uint32(c.Window)
	}
	if architecture == "gemma3" {
		h.Metadata["gemma3.attention.sliding_window_pattern"] = uint32(3) // the checkpoint's third layer of four sees all
	}
	ckpt, err := source.Open(src, "golden")
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	var data [][]float32
	add := func(name string, shape []int64, v []float32) {
		h.Tensors = append(h.Tensors, gguf.Tensor{Name: name, Shape: shape})
		data = append(data, v)
	}
	for _, name := range ckpt.Names() {
		x, _ := ckpt.Tensor(name)
		raw := make([]byte, x.Bytes())
		if _, err := x.ReadAt(raw, 0); err != nil {
			t.Fatal(err)
		}
		v := make([]float32, x.Bytes()/x.DType.RowBytes(1))
		tensor.Decode(v, raw, x.DType)
		switch heads := map[bool]int{true: c.Heads, false: c.KVHeads}[strings.Contains(name, "q_proj")]; {
		case architecture == "llama" && (strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj")):
			v = permuted(v, heads, c.HeadDim)
		case architecture == "gemma3" && strings.Contains(name, "norm"):
			for i := range v {
				v[i]++
			}
		}
		add(ggufName(architecture, name), x.Shape, v)
	}
	if c.RoPE.Type == "llama3" {
		v := make([]float32, c.HeadDim/2)
		for i := range v {
			wave := 2 * math.Pi * math.Pow(c.RoPE.Theta, 2*float64(i)/float64(c.HeadDim))
			smooth := (c.RoPE.Original/wave - c.RoPE.Low) / (c.RoPE.High - c.RoPE.Low)
			v[i] = float32(1 / ((1-min(max(smooth, 0), 1))/c.RoPE.Factor + min(max(smooth, 0), 1)))
		}
		add("rope_freqs.weight", []int64{int64(len(v))}, v)
	}
	head, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range h.Tensors {
		head = append(head, make([]byte, x.Offset-int64(len(head))+x.Bytes)...)
		tensor.Encode(head[x.Offset:], data[i], tensor.F32)
	}
	if err := os.WriteFile(path, head, 0o666); err != nil {
		t.Fatal(err)
	}
}

// permuted puts the rows of each head so that halves become neighbours.
func permuted(v []float32, heads, headDim int) []float32 {
	row := len(v) / (heads * headDim)
	var out []float32
	for h := range heads {
		for i := range headDim {
			at := h*headDim + i/2 + i%2*headDim/2
			out = append(out, v[at*row:(at+1)*row]...)
		}
	}
	return out
}

// ggufName is the converter's name for a tensor of transformers'.
func ggufName(architecture, name string) string {
	after := "ffn_norm"
	if architecture == "gemma3" {
		after = "post_attention_norm"
	}
	return strings.NewReplacer(
		"model.embed_tokens", "token_embd", "model.norm", "output_norm", "lm_head", "output", "model.layers.", "blk.",
		"input_layernorm", "attn_norm", "post_attention_layernorm", after, "pre_feedforward_layernorm", "ffn_norm",
		"post_feedforward_layernorm", "post_ffw_norm", "self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k",
		"self_attn.v_proj", "attn_v", "self_attn.o_proj", "attn_output", "self_attn.q_norm", "attn_q_norm",
		"self_attn.k_norm", "attn_k_norm", "mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down",
	).Replace(name)
}
