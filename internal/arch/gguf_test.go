package arch

import (
	"bytes"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

// least is the metadata that a model must have.
func least(architecture string) map[string]any {
	m := map[string]any{"general.architecture": architecture}
	for key, v := range map[string]uint32{
		"block_count": 2, "embedding_length": 8, "feed_forward_length": 12, "context_length": 64, "attention.head_count": 2,
	} {
		m[architecture+"."+key] = v
	}
	return m
}

// encoded is a file of these metadata and tensors, of float32 zeros.
func encoded(t testing.TB, m map[string]any, tensors map[string][]int64) []byte {
	t.Helper()
	h := gguf.Header{Metadata: m}
	for name, shape := range tensors {
		h.Tensors = append(h.Tensors, gguf.Tensor{Name: name, Shape: shape})
	}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h.Tensors); n > 0 {
		last := h.Tensors[n-1]
		b = append(b, make([]byte, last.Offset+last.Bytes-h.Data)...)
	}
	return b
}

// opened is the model of a file.
func opened(t testing.TB, file []byte) *source.Checkpoint {
	t.Helper()
	c, err := source.OpenGGUF(fstest.MapFS{"m.gguf": {Data: file}}, "", "m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func embedding() map[string][]int64 { return map[string][]int64{"token_embd.weight": {50, 8}} }

func TestReadGGUF(t *testing.T) {
	type change = func(p *config.ModelProfile)
	rope := func(f func(r *config.RoPE)) change { return func(p *config.ModelProfile) { f(&p.Kinds[0].RoPE) } }
	for name, c := range map[string]struct {
		architecture string
		metadata     map[string]any
		tensors      map[string][]int64
		want         change
	}{
		"least":          {"llama", nil, nil, func(*config.ModelProfile) {}},
		"an untied head": {"llama", nil, map[string][]int64{"output.weight": {50, 8}}, func(p *config.ModelProfile) { p.TiedHead = false }},
		"biases": {"llama", nil, map[string][]int64{"blk.0.attn_q.bias": {8}, "blk.0.attn_output.bias": {8}, "blk.0.ffn_up.bias": {12}},
			func(p *config.ModelProfile) { p.QKVBias, p.OutBias, p.MLPBias = true, true, true }},
		"heads": {"llama", map[string]any{"llama.attention.head_count_kv": uint32(1), "llama.attention.key_length": uint32(6), "llama.rope.dimension_count": int64(4)}, nil,
			func(p *config.ModelProfile) { p.KVHeads, p.HeadSize, p.Kinds[0].RoPE.Dims = 1, 6, 4 }},
		"lists": {"llama", map[string]any{"llama.attention.head_count_kv": []uint32{1, 1}, "llama.feed_forward_length": []int32{9, 9}}, nil,
			func(p *config.ModelProfile) { p.KVHeads, p.FFN = 1, 9 }},
		"tokens": {"llama", map[string]any{"tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.eos_token_id": uint32(2), "tokenizer.ggml.eot_token_id": uint32(7), "tokenizer.ggml.padding_token_id": uint32(50)}, nil,
			func(p *config.ModelProfile) { p.BOS, p.EOS = 1, []int32{2, 7} }},
		"a window":      {"llama", map[string]any{"llama.attention.sliding_window": uint32(9)}, nil, func(p *config.ModelProfile) { p.Kinds[0].Window = 9 }},
		"frequencies":   {"llama", map[string]any{"llama.rope.freq_base": float32(5e5)}, map[string][]int64{"rope_freqs.weight": {2}}, rope(func(r *config.RoPE) { r.Theta, r.Divisors = 5e5, true })},
		"linear":        {"llama", map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(4)}, nil, rope(func(r *config.RoPE) { r.Scaling, r.Factor = config.RoPELinear, 4 })},
		"linear of old": {"llama", map[string]any{"llama.rope.scale_linear": float32(4)}, nil, rope(func(r *config.RoPE) { r.Scaling, r.Factor = config.RoPELinear, 4 })},
		"yarn": {"llama", map[string]any{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4), "llama.rope.scaling.original_context_length": uint32(16)}, nil,
			rope(func(r *config.RoPE) {
				r.Scaling, r.Factor, r.Original, r.BetaFast, r.BetaSlow, r.Magnitude = config.RoPEYaRN, 4, 16, 32, 1, 0.1*math.Log(4)+1
			})},
		"synthetic": {"llama", map[string]any{SyntheticKey: true, ActiveKey: []float64{0.5, 0.25}}, nil,
			func(p *config.ModelProfile) { p.Synthetic, p.ActiveShares = true, []float64{0.5, 0.25} }},
		"qwen3": {"qwen3", nil, map[string][]int64{"blk.0.attn_q_norm.weight": {4}}, func(p *config.ModelProfile) {
			p.Family, p.QKNorm, p.Kinds[0].RoPE.Interleaved = "qwen3", config.QKNormPerHead, false
		}},
		"gemma3": {"gemma3", map[string]any{"gemma3.attention.sliding_window": uint32(16), "gemma3.attention.sliding_window_pattern": uint32(2), "gemma3.rope.freq_base": float32(1e6)}, nil,
			func(p *config.ModelProfile) {
				p.Family, p.Activation, p.SandwichNorm, p.EmbedScale = "gemma3", config.GELUTanh, true, float32(math.Sqrt(8))
				p.Kinds = []config.LayerKind{{RoPE: config.RoPE{Theta: 1e6, Dims: 4}}, {Window: 16, RoPE: config.RoPE{Theta: 1e4, Dims: 4}}}
				p.KindOf = []int{1, 0}
			}},
	} {
		m, tensors := least(c.architecture), embedding()
		maps.Copy(m, c.metadata)
		maps.Copy(tensors, c.tensors)
		want := config.ModelProfile{
			Family: "llama", VocabSize: 50, EmbedDim: 8, HiddenSize: 8, Layers: 2, Heads: 2, KVHeads: 2, HeadSize: 4, FFN: 12,
			NeuronParts: 3, MaxPositions: 64, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-5, NormAffine: true,
			PreNorm: true, FinalNorm: true, TiedHead: true, BOS: -1, PAD: -1,
			Kinds: []config.LayerKind{{RoPE: config.RoPE{Theta: 1e4, Dims: 4, Interleaved: true}}},
		}
		c.want(&want)
		got, err := ReadGGUF(opened(t, encoded(t, m, tensors)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

// What cannot be run is refused with the key, what it holds and what is wanted.
func TestReadGGUFErrors(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"general.architecture", nil, "got general.architecture <nil>, want the name of a family"},
		{"general.architecture", "llamo", "got general.architecture llamo, which is not supported yet; the nearest that is known is llama"},
		{"general.architecture", "mamba", "want one of llama, "},
		{"llama.block_count", nil, "got llama.block_count <nil>, want a whole number"},
		{"llama.block_count", "two", "got llama.block_count two, want a number"},
		{"llama.block_count", float32(1.5), "got llama.block_count 1.5, want a whole number of 32 bits"},
		{"llama.block_count", uint64(1 << 60), "want a whole number of 32 bits"},
		{"llama.block_count", uint32(1 << 30), "got layers 1073741824"},
		{"llama.embedding_length", uint32(0), "got embed_dim 0"},
		{"llama.attention.head_count", uint32(0), "got heads 0"},
		{"llama.attention.head_count", []uint32{2, 4}, "got llama.attention.head_count [2 4], want the same in all layers"},
		{"llama.attention.value_length", uint32(9), "got llama.attention.value_length 9, want the length of keys"},
		{"llama.attention.layer_norm_rms_epsilon", math.NaN(), "want a number"},
		{"llama.rope.scaling.type", "longrope", "got llama.rope.scaling.type longrope, want none, linear or yarn"},
		{"llama.rope.dimension_count", uint32(99), "got RoPE of 99 elements"},
		{"llama.rope.freq_base", float32(-1), "got RoPE of theta -1"},
	} {
		m := least("llama")
		if m[c.key] = c.value; c.value == nil {
			delete(m, c.key)
		}
		_, err := ReadGGUF(opened(t, encoded(t, m, embedding())))
		if err == nil || !strings.HasPrefix(err.Error(), "config: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
	if _, err := ReadGGUF(opened(t, encoded(t, least("llama"), nil))); err == nil || !strings.Contains(err.Error(), "vocab_size 0") {
		t.Errorf("no embedding: got %v", err)
	}
}

// Whatever a file says, its model is valid or refused, and its tensors are those
// that the profile demands or it is refused.
func FuzzReadGGUF(f *testing.F) {
	for _, architecture := range []string{"llama", "qwen2", "gemma3"} {
		f.Add(encoded(f, least(architecture), embedding()))
	}
	for _, architecture := range []string{"qwen3moe", "gpt-oss", "glm4moe", "llama"} {
		f.Add(expertsFile(f, architecture))
	}
	f.Add(encoded(f, map[string]any{"general.architecture": "llama", "llama.block_count": []uint32{1, 2}}, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := source.OpenGGUF(fstest.MapFS{"m.gguf": {Data: bytes.Clone(file)}}, "", "m.gguf")
		if err != nil {
			return
		}
		defer c.Close()
		p, err := ReadGGUF(c)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("got a profile that is not valid: %v", err)
		}
		m, err := Map(c, p, "m.gguf")
		if err != nil {
			return
		}
		if m.Resident["embed.tokens"] == nil {
			t.Fatal("got no embedding and no error")
		}
		for i, x := range m.Experts {
			checkExperts(t, p, i, x, map[string]bool{})
		}
	})
}
