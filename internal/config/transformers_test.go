package config

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a config.json with the fields that must be there and no other.
var small = map[string]string{
	"model_type": `"opt"`, "vocab_size": "64", "hidden_size": "48", "num_hidden_layers": "2",
	"ffn_dim": "96", "num_attention_heads": "4", "max_position_embeddings": "32",
}

// smallProfile is what small says.
func smallProfile() ModelProfile {
	return ModelProfile{
		Family: "opt", VocabSize: 64, EmbedDim: 48, HiddenSize: 48, Layers: 2, Heads: 4, KVHeads: 4,
		FFN: 96, NeuronParts: 2, MaxPositions: 32, PositionOffset: 2, Activation: ReLU,
		Norm: LayerNorm, NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true,
		TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// smallWith is small with key set to a JSON value, or without key if it is "".
func smallWith(key, value string) []byte {
	m := maps.Clone(small)
	m[key] = value
	if value == "" {
		delete(m, key)
	}
	raw := make(map[string]json.RawMessage, len(m))
	for k, v := range m {
		raw[k] = json.RawMessage(v)
	}
	b, err := json.Marshal(raw)
	if err != nil {
		panic(err)
	}
	return b
}

func TestFieldsFromTransformers(t *testing.T) {
	type change = func(*ModelProfile)
	act := func(a Activation) change { return func(p *ModelProfile) { p.Activation = a } }
	eos := func(ids ...int32) change { return func(p *ModelProfile) { p.EOS = ids } }
	same := func(*ModelProfile) {}
	postNorm := func(p *ModelProfile) { p.PreNorm, p.FinalNorm = false, false }
	embed := func(n int) change { return func(p *ModelProfile) { p.EmbedDim = n } }
	for _, c := range []struct {
		key, value string
		want       change
	}{
		{"vocab_size", "65", func(p *ModelProfile) { p.VocabSize = 65 }},
		{"hidden_size", "64", func(p *ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"hidden_size", "64.0", func(p *ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"hidden_size", "6.4e1", func(p *ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"num_hidden_layers", "3", func(p *ModelProfile) { p.Layers = 3 }},
		{"ffn_dim", "95", func(p *ModelProfile) { p.FFN = 95 }},
		{"num_attention_heads", "3", func(p *ModelProfile) { p.Heads, p.KVHeads = 3, 3 }},
		{"max_position_embeddings", "7", func(p *ModelProfile) { p.MaxPositions = 7 }},

		{"word_embed_proj_dim", "24", embed(24)},
		{"word_embed_proj_dim", "24.0", embed(24)},
		{"word_embed_proj_dim", "null", embed(48)},

		{"do_layer_norm_before", "true", same},
		{"do_layer_norm_before", "false", postNorm},
		{"do_layer_norm_before", "null", postNorm},
		{"_remove_final_layer_norm", "false", same},
		{"_remove_final_layer_norm", "true", func(p *ModelProfile) { p.FinalNorm = false }},
		{"enable_bias", "true", same},
		{"enable_bias", "false", func(p *ModelProfile) { p.Bias = false }},
		{"layer_norm_elementwise_affine", "true", same},
		{"layer_norm_elementwise_affine", "false", func(p *ModelProfile) { p.NormAffine = false }},
		{"tie_word_embeddings", "true", same},
		{"tie_word_embeddings", "false", func(p *ModelProfile) { p.TiedHead = false }},
		{"tie_word_embeddings", "null", func(p *ModelProfile) { p.TiedHead = false }},

		{"activation_function", `"relu"`, same},
		{"activation_function", `"gelu"`, act(GELU)},
		{"activation_function", `"gelu_python"`, act(GELU)},
		{"activation_function", `"gelu_new"`, act(GELUTanh)},
		{"activation_function", `"gelu_fast"`, act(GELUTanh)},
		{"activation_function", `"gelu_accurate"`, act(GELUTanh)},
		{"activation_function", `"gelu_pytorch_tanh"`, act(GELUTanh)},
		{"activation_function", `"quick_gelu"`, act(QuickGELU)},
		{"activation_function", `"silu"`, act(SiLU)},
		{"activation_function", `"swish"`, act(SiLU)},

		{"eos_token_id", "5", eos(5)},
		{"eos_token_id", "5.0", eos(5)},
		{"eos_token_id", "[5, 7]", eos(5, 7)},
		{"eos_token_id", "[]", eos()},
		{"eos_token_id", "null", eos()},
		{"bos_token_id", "0", func(p *ModelProfile) { p.BOS = 0 }},
		{"bos_token_id", "null", func(p *ModelProfile) { p.BOS = -1 }},
		{"pad_token_id", "63", func(p *ModelProfile) { p.PAD = 63 }},
		{"pad_token_id", "-1", func(p *ModelProfile) { p.PAD = -1 }},
		{"pad_token_id", "null", func(p *ModelProfile) { p.PAD = -1 }},

		{"sparseflow_synthetic", "true", func(p *ModelProfile) { p.Synthetic = true }},
		{"sparseflow_synthetic", "false", same},

		// What says nothing about inference, in whatever form.
		{"dropout", "0.1", same},
		{"prefix", `"</s>"`, same},
		{"unknown", `{"a":[1]}`, same},
		{"Enable_Bias", "false", same}, // another key than enable_bias
	} {
		want := smallProfile()
		c.want(&want)
		got, err := ProfileFromTransformers(smallWith(c.key, c.value))
		if err != nil {
			t.Errorf("%s %s: got error %v", c.key, c.value, err)
			continue
		}
		if len(got.EOS) == 0 && len(want.EOS) == 0 {
			got.EOS, want.EOS = nil, nil
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s %s: (-want +got)\n%s", c.key, c.value, d)
		}
	}
}

func TestErrorsFromTransformers(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"model_type", "", `config: config.json: got no model_type, want "opt"`},
		{"model_type", "null", `config: config.json: got model_type null, want "opt"`},
		{"model_type", `"llama"`, `config: config.json: got model_type "llama", want "opt"`},
		{"model_type", `["opt"]`, `config: config.json: got model_type ["opt"], want "opt"`},

		{"vocab_size", "", "config: config.json: got no vocab_size, want a whole number of 32 bits"},
		{"hidden_size", "", "config: config.json: got no hidden_size, want a whole number of 32 bits"},
		{"num_hidden_layers", "", "config: config.json: got no num_hidden_layers, want a whole number of 32 bits"},
		{"ffn_dim", "", "config: config.json: got no ffn_dim, want a whole number of 32 bits"},
		{"num_attention_heads", "", "config: config.json: got no num_attention_heads, want a whole number of 32 bits"},
		{"max_position_embeddings", "", "config: config.json: got no max_position_embeddings, want a whole number of 32 bits"},
		{"hidden_size", "null", "config: config.json: got hidden_size null, want a whole number of 32 bits"},
		{"hidden_size", "48.5", "config: config.json: got hidden_size 48.5, want a whole number of 32 bits"},
		{"hidden_size", `"48"`, `config: config.json: got hidden_size "48", want a whole number of 32 bits`},
		{"hidden_size", "[48]", "config: config.json: got hidden_size [48], want a whole number of 32 bits"},
		{"hidden_size", "1e12", "config: config.json: got hidden_size 1e12, want a whole number of 32 bits"},
		{"hidden_size", "1e999", "config: config.json: got hidden_size 1e999, want a whole number of 32 bits"},
		{"word_embed_proj_dim", "true", "config: config.json: got word_embed_proj_dim true, want a whole number of 32 bits"},

		{"hidden_size", "-48", "config: profile: got embed_dim -48, want 1 to 1048576"},
		{"hidden_size", "0", "config: profile: got embed_dim 0, want 1 to 1048576"},
		{"hidden_size", "50", "config: profile: got 4 heads, want a divisor of the hidden size 50"},
		{"num_attention_heads", "0", "config: profile: got heads 0, want 1 to 1048576"},
		{"num_hidden_layers", "2000000000", "config: profile: got layers 2000000000, want 1 to 4096"},
		{"ffn_dim", "-1", "config: profile: got ffn -1, want 1 to 1048576"},
		{"vocab_size", "2147483647", "config: profile: got vocab_size 2147483647, want 1 to 16777216"},
		{"max_position_embeddings", "0", "config: profile: got max_positions 0, want 1 to 16777216"},
		{"word_embed_proj_dim", "0", "config: profile: got embed_dim 0, want 1 to 1048576"},

		{"do_layer_norm_before", "1", "config: config.json: got do_layer_norm_before 1, want true or false"},
		{"_remove_final_layer_norm", `"no"`, `config: config.json: got _remove_final_layer_norm "no", want true or false`},
		{"enable_bias", "0", "config: config.json: got enable_bias 0, want true or false"},
		{"layer_norm_elementwise_affine", "{}", "config: config.json: got layer_norm_elementwise_affine {}, want true or false"},
		{"tie_word_embeddings", `"true"`, `config: config.json: got tie_word_embeddings "true", want true or false`},

		{"activation_function", `"relu6"`, `config: config.json: got activation_function "relu6", want relu, gelu, gelu_new, quick_gelu or silu`},
		{"activation_function", "null", "config: config.json: got activation_function null, want relu, gelu, gelu_new, quick_gelu or silu"},
		{"activation_function", "3", "config: config.json: got activation_function 3, want relu, gelu, gelu_new, quick_gelu or silu"},

		{"eos_token_id", `"2"`, `config: config.json: got eos_token_id "2", want a token id or a list of them`},
		{"eos_token_id", "[null]", "config: config.json: got eos_token_id [null], want a token id or a list of them"},
		{"eos_token_id", "[2,[3]]", "config: config.json: got eos_token_id [2,[3]], want a token id or a list of them"},
		{"eos_token_id", "2.5", "config: config.json: got eos_token_id 2.5, want a token id or a list of them"},
		{"eos_token_id", "4294967298", "config: config.json: got eos_token_id 4294967298, want a token id or a list of them"},
		{"eos_token_id", "64", "config: profile: got special token id 64, want -1 to 63"},
		{"eos_token_id", "[2,-2]", "config: profile: got special token id -2, want -1 to 63"},
		{"bos_token_id", "64", "config: profile: got special token id 64, want -1 to 63"},
		{"pad_token_id", "{}", "config: config.json: got pad_token_id {}, want a token id or a list of them"},
		{
			"enable_bias", `"` + strings.Repeat("x", 1000) + `"`,
			`config: config.json: got enable_bias "` + strings.Repeat("x", 59) + "..., want true or false",
		},
	} {
		got, err := ProfileFromTransformers(smallWith(c.key, c.value))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %.20s:\n got %v\nwant %s", c.key, c.value, err, c.want)
		}
		if d := cmp.Diff(ModelProfile{}, got); d != "" {
			t.Errorf("%s %.20s: got a profile beside the error", c.key, c.value)
		}
	}
	for in, want := range map[string]string{
		"":        "config: config.json: got no JSON, want an object: unexpected end of JSON input",
		`{"a":1`:  "config: config.json: got no JSON, want an object: unexpected end of JSON input",
		"{} {}":   "config: config.json: got no JSON, want an object: invalid character '{' after top-level value",
		"[]":      "config: config.json: got a JSON array, want an object",
		`"opt"`:   "config: config.json: got a JSON string, want an object",
		"null":    `config: config.json: got no model_type, want "opt"`,
		"\x80{}":  "config: config.json: got no JSON, want an object: invalid character '\\u0080' looking for beginning of value",
		`{"a":}`:  "config: config.json: got no JSON, want an object: invalid character '}' looking for beginning of value",
		" {\n}\t": `config: config.json: got no model_type, want "opt"`,
	} {
		if _, err := ProfileFromTransformers([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}

// The files that facebook published beside the checkpoints.
func TestPublishedOPT(t *testing.T) {
	for _, c := range []struct {
		name                          string
		d, layers, heads, ffn, embed  int
		preNorm, finalNorm            bool
		headDim                       int
		neurons, bundleBytes, kvBytes int64 // kvBytes: of one token in one layer's keys, f16
	}{
		{"opt-125m", 768, 12, 12, 3072, 768, true, true, 64, 36864, 3072, 1536},
		{"opt-350m", 1024, 24, 16, 4096, 512, false, false, 64, 98304, 4096, 2048},
		{"opt-1.3b", 2048, 24, 32, 8192, 2048, true, true, 64, 196608, 8192, 4096},
		{"opt-6.7b", 4096, 32, 32, 16384, 4096, true, true, 128, 524288, 16384, 8192},
		{"opt-30b", 7168, 48, 56, 28672, 7168, true, true, 128, 1376256, 28672, 14336},
	} {
		raw, err := os.ReadFile("testdata/" + c.name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		got, err := ProfileFromTransformers(raw)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := ModelProfile{
			Family: "opt", VocabSize: 50272, EmbedDim: c.embed, HiddenSize: c.d, Layers: c.layers,
			Heads: c.heads, KVHeads: c.heads, FFN: c.ffn, NeuronParts: 2, MaxPositions: 2048,
			PositionOffset: 2, Activation: ReLU, Norm: LayerNorm, NormEps: 1e-5, NormAffine: true,
			PreNorm: c.preNorm, FinalNorm: c.finalNorm, Bias: true, TiedHead: true,
			BOS: 2, PAD: 1, EOS: []int32{2},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
		if got.HeadDim() != c.headDim || got.Neurons() != c.neurons || 2*int64(got.KVDim()) != c.kvBytes {
			t.Errorf("%s: got head dim %d, %d neurons, kv dim %d", c.name, got.HeadDim(), got.Neurons(), got.KVDim())
		}
		if n := got.BundleBytes(f16); n != c.bundleBytes {
			t.Errorf("%s: got bundles of %d bytes, want %d", c.name, n, c.bundleBytes)
		}
	}
}

func TestFromTransformersConfig(t *testing.T) {
	s := DefaultStrategy()
	s.Mode, s.Context = Dense, 16
	got, err := FromTransformersConfig(smallWith("ffn_dim", "96"), s)
	if d := cmp.Diff(SparseFlowConfig{Profile: smallProfile(), Strategy: s}, got); d != "" || err != nil {
		t.Errorf("got %v (-want +got)\n%s", err, d)
	}
	if _, err := FromTransformersConfig([]byte("{"), s); err == nil {
		t.Error("half a file: got no error")
	}
	s.Threads = -1
	if _, err := FromTransformersConfig(smallWith("ffn_dim", "96"), s); err == nil || !strings.Contains(err.Error(), "threads") {
		t.Errorf("threads -1: got error %v", err)
	}
}

func FuzzProfileFromTransformers(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add(smallWith("eos_token_id", "[2, 3]"))
	f.Add(smallWith("hidden_size", "48.0"))
	f.Add(smallWith("activation_function", `"gelu"`))
	f.Add(smallWith("tie_word_embeddings", "null"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ProfileFromTransformers(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "config: ") || !strings.Contains(err.Error(), "got ") {
				t.Fatalf("got error %q", err)
			}
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("got a profile that is not valid: %v", err)
		}
		stored, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back ModelProfile
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, back); d != "" {
			t.Fatalf("changed on its way through JSON:\n%s", d)
		}
	})
}
