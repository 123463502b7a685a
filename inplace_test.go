package sparseflow_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A model of which no neuron can be left out runs from its own files, without a
// copy, and says what its pack says, whatever streams.
func TestInPlace(t *testing.T) {
	src, err := filepath.Abs("testdata/opt/gelu")
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "gelu.sflow")
	if _, err := convert.Convert(t.Context(), os.DirFS(src), src, packed, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	want := logitsOf(t, packed, sparseflow.IODirect, 1)
	for _, share := range []float64{1, 0.5, 0.1} {
		if got := logitsOf(t, src, sparseflow.IODirect, share); !slices.Equal(got, want) {
			t.Errorf("with %v of the weights: got %v, want %v", share, got, want)
		}
	}
}

// logitsOf are a model's logits after some ids, with a share of its weights in
// memory. Nothing may be left in the cache directory.
func logitsOf(t *testing.T, model string, io sparseflow.IOMode, share float64) []float32 {
	t.Helper()
	cache := t.TempDir()
	s := sparseflow.DefaultStrategy()
	s.Budget, s.IO = sparseflow.Budget{Share: share}, io
	e, err := sparseflow.Open(t.Context(), model, sparseflow.WithStrategy(s), sparseflow.WithCacheDir(cache))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if files, err := os.ReadDir(cache); err != nil || len(files) > 0 {
		t.Errorf("%s: got %v in the cache directory, %v, want nothing", model, files, err)
	}
	if share < 0.3 && e.Placement().Streamed == 0 {
		t.Errorf("%s: got nothing that streams of %v", model, share)
	}
	r, err := e.Score(t.Context(), []int32{2, 5, 9, 11, 4, 7})
	if err != nil {
		t.Fatal(err)
	}
	return r.Logits
}

// writeLlama writes a small Llama with weights of several types, in one GGUF file or
// in parts, and returns the path of the last part.
func writeLlama(t *testing.T, dir string, parts int) (path string) {
	t.Helper()
	const layers, hidden, ffn, kv, vocab = 2, 256, 512, 128, 260
	tokens, types := make([]string, vocab), make([]int32, vocab)
	for i := range tokens {
		tokens[i], types[i] = "<"+strconv.Itoa(i)+">", 3
		if i < 94 { // what is spelt as it is
			tokens[i], types[i] = string(rune('!'+i)), 1
		}
	}
	metadata := map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(layers), "llama.embedding_length": uint32(hidden),
		"llama.feed_forward_length": uint32(ffn), "llama.attention.head_count": uint32(4), "llama.attention.head_count_kv": uint32(2),
		"llama.context_length": uint32(64), "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": []string{}, "tokenizer.chat_template": "{{ messages[0].content }}",
	}
	var all []gguf.Tensor
	add := func(name string, d tensor.DType, shape ...int64) {
		all = append(all, gguf.Tensor{Name: name, Shape: shape, Type: gguf.Type(d.GGML())})
	}
	add("token_embd.weight", tensor.Q8_0, vocab, hidden)
	add("output.weight", tensor.Q6_K, vocab, hidden)
	add("output_norm.weight", tensor.F32, hidden)
	for i := range layers {
		at := fmt.Sprintf("blk.%d.", i)
		add(at+"attn_norm.weight", tensor.F32, hidden)
		add(at+"attn_q.weight", tensor.Q4_K, hidden, hidden)
		add(at+"attn_k.weight", tensor.F16, kv, hidden)
		add(at+"attn_v.weight", tensor.Q5_0, kv, hidden)
		add(at+"attn_output.weight", tensor.Q4_1, hidden, hidden)
		add(at+"ffn_norm.weight", tensor.F32, hidden)
		add(at+"ffn_gate.weight", tensor.Q5_K, ffn, hidden)
		add(at+"ffn_up.weight", tensor.Q4_0, ffn, hidden)
		add(at+"ffn_down.weight", tensor.Q6_K, hidden, ffn)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for no := range parts {
		h := gguf.Header{Metadata: map[string]any{}, Tensors: slices.Clone(all[no*len(all)/parts : (no+1)*len(all)/parts])}
		path = filepath.Join(dir, "m.gguf")
		if no == 0 {
			h.Metadata = maps.Clone(metadata)
		}
		if parts > 1 {
			h.Metadata["split.no"], h.Metadata["split.count"] = uint16(no), uint16(parts)
			path = filepath.Join(dir, fmt.Sprintf("m-%05d-of-%05d.gguf", no+1, parts))
		}
		b, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range h.Tensors {
			n := int64(1)
			for _, d := range x.Shape {
				n *= d
			}
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(rng.NormFloat64()) / 8
			}
			d, _ := tensor.FromGGML(uint32(x.Type))
			b = append(b, make([]byte, x.Offset-int64(len(b)))...)
			raw := make([]byte, x.Bytes)
			tensor.Encode(raw, v, d)
			b = append(b, raw...)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// A GGUF model runs from its file, from any of its parts and as a pack, and says the
// same, whatever streams and however it is read.
func TestGGUFInPlace(t *testing.T) {
	dir := t.TempDir()
	whole := writeLlama(t, dir, 1)
	part := writeLlama(t, t.TempDir(), 3)
	packed := filepath.Join(dir, "m.sflow")
	src, err := hub.Find(whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := convert.ConvertModel(t.Context(), src, packed, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	want := logitsOf(t, packed, sparseflow.IODirect, 1)
	for _, model := range []string{whole, part} {
		for _, io := range []sparseflow.IOMode{sparseflow.IODirect, sparseflow.IOMmap} {
			for _, share := range []float64{1, 0.5, 0.01} {
				if got := logitsOf(t, model, io, share); !slices.Equal(got, want) {
					t.Errorf("%s by %s with %v of the weights: got other logits than the pack's", model, io, share)
				}
			}
		}
	}
	for _, model := range []string{whole, part, packed} {
		tok, err := sparseflow.LoadTokenizer(model)
		if err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		if template, ok := tok.ChatTemplate(""); !ok || template != "{{ messages[0].content }}" || !slices.Equal(tok.Encode("Hi", false), []int32{39, 72}) {
			t.Errorf("%s: got template %q, ids %v", model, template, tok.Encode("Hi", false))
		}
	}
}
