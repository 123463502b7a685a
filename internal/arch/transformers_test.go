package arch

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// small is a config.json with the fields that must be there and no other.
var small = map[string]string{
	"model_type": `"opt"`, "vocab_size": "64", "hidden_size": "48", "num_hidden_layers": "2",
	"ffn_dim": "96", "num_attention_heads": "4", "max_position_embeddings": "32",
}

// smallProfile is what small says.
func smallProfile() config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: 64, EmbedDim: 48, HiddenSize: 48, Layers: 2, Heads: 4, KVHeads: 4,
		FFN: 96, NeuronParts: 2, MaxPositions: 32, LearnedPositions: true, PositionOffset: 2, Activation: config.ReLU,
		Norm: config.LayerNorm, NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true,
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
	type change = func(*config.ModelProfile)
	act := func(a config.Activation) change { return func(p *config.ModelProfile) { p.Activation = a } }
	eos := func(ids ...int32) change { return func(p *config.ModelProfile) { p.EOS = ids } }
	same := func(*config.ModelProfile) {}
	postNorm := func(p *config.ModelProfile) { p.PreNorm, p.FinalNorm = false, false }
	embed := func(n int) change { return func(p *config.ModelProfile) { p.EmbedDim = n } }
	for _, c := range []struct {
		key, value string
		want       change
	}{
		{"vocab_size", "65", func(p *config.ModelProfile) { p.VocabSize = 65 }},
		{"hidden_size", "64", func(p *config.ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"hidden_size", "64.0", func(p *config.ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"hidden_size", "6.4e1", func(p *config.ModelProfile) { p.HiddenSize, p.EmbedDim = 64, 64 }},
		{"num_hidden_layers", "3", func(p *config.ModelProfile) { p.Layers = 3 }},
		{"ffn_dim", "95", func(p *config.ModelProfile) { p.FFN = 95 }},
		{"num_attention_heads", "3", func(p *config.ModelProfile) { p.Heads, p.KVHeads = 3, 3 }},
		{"max_position_embeddings", "7", func(p *config.ModelProfile) { p.MaxPositions = 7 }},

		{"word_embed_proj_dim", "24", embed(24)},
		{"word_embed_proj_dim", "24.0", embed(24)},
		{"word_embed_proj_dim", "null", embed(48)},

		{"do_layer_norm_before", "true", same},
		{"do_layer_norm_before", "false", postNorm},
		{"do_layer_norm_before", "null", postNorm},
		{"_remove_final_layer_norm", "false", same},
		{"_remove_final_layer_norm", "true", func(p *config.ModelProfile) { p.FinalNorm = false }},
		{"enable_bias", "true", same},
		{"enable_bias", "false", func(p *config.ModelProfile) { p.Bias = false }},
		{"layer_norm_elementwise_affine", "true", same},
		{"layer_norm_elementwise_affine", "false", func(p *config.ModelProfile) { p.NormAffine = false }},
		{"tie_word_embeddings", "true", same},
		{"tie_word_embeddings", "false", func(p *config.ModelProfile) { p.TiedHead = false }},
		{"tie_word_embeddings", "null", func(p *config.ModelProfile) { p.TiedHead = false }},

		{"activation_function", `"relu"`, same},
		{"activation_function", `"gelu"`, act(config.GELU)},
		{"activation_function", `"gelu_python"`, act(config.GELU)},
		{"activation_function", `"gelu_new"`, act(config.GELUTanh)},
		{"activation_function", `"gelu_fast"`, act(config.GELUTanh)},
		{"activation_function", `"gelu_accurate"`, act(config.GELUTanh)},
		{"activation_function", `"gelu_pytorch_tanh"`, act(config.GELUTanh)},
		{"activation_function", `"gelu_python_tanh"`, act(config.GELUTanh)},
		{"activation_function", `"quick_gelu"`, act(config.QuickGELU)},
		{"activation_function", `"silu"`, act(config.SiLU)},
		{"activation_function", `"swish"`, act(config.SiLU)},

		{"eos_token_id", "5", eos(5)},
		{"eos_token_id", "5.0", eos(5)},
		{"eos_token_id", "[5, 7]", eos(5, 7)},
		{"eos_token_id", "[]", eos()},
		{"eos_token_id", "null", eos()},
		{"bos_token_id", "0", func(p *config.ModelProfile) { p.BOS = 0 }},
		{"bos_token_id", "null", func(p *config.ModelProfile) { p.BOS = -1 }},
		{"pad_token_id", "63", func(p *config.ModelProfile) { p.PAD = 63 }},
		{"pad_token_id", "-1", func(p *config.ModelProfile) { p.PAD = -1 }},
		{"pad_token_id", "null", func(p *config.ModelProfile) { p.PAD = -1 }},

		{"sparseflow_synthetic", "true", func(p *config.ModelProfile) { p.Synthetic = true }},
		{"sparseflow_synthetic", "false", same},
		{"sparseflow_active_shares", "[0.01, 0.03]", func(p *config.ModelProfile) { p.ActiveShares = []float64{0.01, 0.03} }},
		{"sparseflow_active_shares", "[0.01]", same},
		{"sparseflow_active_shares", "[0, 2]", same},
		{"sparseflow_active_shares", `"few"`, same},

		// OPTConfig's defaults.
		{"vocab_size", "", func(p *config.ModelProfile) { p.VocabSize = 50272 }},
		{"num_hidden_layers", "", func(p *config.ModelProfile) { p.Layers = 12 }},
		{"ffn_dim", "", func(p *config.ModelProfile) { p.FFN = 3072 }},
		{"num_attention_heads", "", func(p *config.ModelProfile) { p.Heads, p.KVHeads = 12, 12 }},
		{"max_position_embeddings", "", func(p *config.ModelProfile) { p.MaxPositions = 2048 }},
		{"hidden_size", "", func(p *config.ModelProfile) { p.HiddenSize, p.EmbedDim = 768, 768 }},

		// What Python takes for true and for false.
		{"do_layer_norm_before", "1", same},
		{"do_layer_norm_before", "0", postNorm},
		{"enable_bias", `"no"`, same},
		{"enable_bias", `""`, func(p *config.ModelProfile) { p.Bias = false }},
		{"layer_norm_elementwise_affine", "{}", func(p *config.ModelProfile) { p.NormAffine = false }},
		{"tie_word_embeddings", "[]", func(p *config.ModelProfile) { p.TiedHead = false }},

		// Tokens that are none.
		{"eos_token_id", `"2"`, eos()},
		{"eos_token_id", "[null]", eos()},
		{"eos_token_id", "[2,[3]]", eos(2)},
		{"eos_token_id", "2.5", eos()},
		{"eos_token_id", "4294967298", eos()},
		{"eos_token_id", "64", eos()},
		{"eos_token_id", "[2,-2,64,63]", eos(2, 63)},
		{"eos_token_id", "false", eos()},
		{"bos_token_id", "64", func(p *config.ModelProfile) { p.BOS = -1 }},
		{"pad_token_id", "50000", func(p *config.ModelProfile) { p.PAD = -1 }},
		{"pad_token_id", "{}", func(p *config.ModelProfile) { p.PAD = -1 }},

		// What says nothing about inference, in whatever form.
		{"torch_dtype", "null", same},
		{"dtype", `"bfloat16"`, same},
		{"init_std", `{"a":1e999}`, same},
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
		{"model_type", "", `config: config.json: got no model_type, want one of llama, `},
		{"model_type", "null", `config: config.json: got no model_type, want one of llama, `},
		{"model_type", `"optt"`, `config: config.json: got model_type optt, which is not supported yet; the nearest that is known is opt`},
		{"model_type", `["opt"]`, `config: config.json: got model_type ["opt"], want the name of a family`},

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

		{"activation_function", `"relu6"`, `config: config.json: got activation_function "relu6", want relu, fatrelu, drelu, gelu, gelu_new, quick_gelu or silu`},
		{"activation_function", "null", "config: config.json: got activation_function null, want relu, fatrelu, drelu, gelu, gelu_new, quick_gelu or silu"},
		{"activation_function", "3", "config: config.json: got activation_function 3, want relu, fatrelu, drelu, gelu, gelu_new, quick_gelu or silu"},

		{
			"activation_function", `"` + strings.Repeat("x", 1000) + `"`,
			`config: config.json: got activation_function "` + strings.Repeat("x", 59) + "..., want relu, fatrelu, drelu, gelu, gelu_new, quick_gelu or silu",
		},
	} {
		got, err := ProfileFromTransformers(smallWith(c.key, c.value))
		if err == nil || err.Error() != c.want && !(strings.HasSuffix(c.want, "one of llama, ") && strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s %.20s:\n got %v\nwant %s", c.key, c.value, err, c.want)
		}
		if d := cmp.Diff(config.ModelProfile{}, got); d != "" {
			t.Errorf("%s %.20s: got a profile beside the error", c.key, c.value)
		}
	}
	for in, want := range map[string]string{
		"":        "config: config.json: got no JSON, want an object: unexpected end of JSON input",
		`{"a":1`:  "config: config.json: got no JSON, want an object: unexpected end of JSON input",
		"{} {}":   "config: config.json: got no JSON, want an object: invalid character '{' after top-level value",
		"[]":      "config: config.json: got a JSON array, want an object",
		`"opt"`:   "config: config.json: got a JSON string, want an object",
		"null":    `config: config.json: got no model_type, want one of llama, `,
		"\x80{}":  "config: config.json: got no JSON, want an object: invalid character '\\u0080' looking for beginning of value",
		`{"a":}`:  "config: config.json: got no JSON, want an object: invalid character '}' looking for beginning of value",
		" {\n}\t": `config: config.json: got no model_type, want one of llama, `,
	} {
		if _, err := ProfileFromTransformers([]byte(in)); err == nil || err.Error() != want && !(strings.HasSuffix(want, "one of llama, ") && strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}

// What Python's json reads and Go's does not, and what neither does.
func TestPythonJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"model_type":"opt","dropout":NaN,"x":[Infinity,-Infinity,{"NaN":"NaN \" Infinity"}]}`: "",
		`{"model_type":"llama","model_type":"opt"}`:                                             "",
		`{"architectures":["OPTForCausalLM"]}`:                                                  "",
		`{"architectures":["OPTModel"]}`:                                                        "",
		`{"architectures":["XLNetForCausalLM"]}`:                                                "model_type xlnet, which is not supported yet; want one of llama, ",
		`{"model_type":"wav2vec"}`:                                                              "model_type wav2vec, which is not supported yet; want one of llama, ",
		`{"model_type":"opt","hidden_size":NaN}`:                                                `got hidden_size "NaN", want a whole number`,
		`{"model_type":"opt",}`:                                                                 "got no JSON",
		"\ufeff" + `{"model_type":"opt"}`:                                                       "got no JSON",
		`{"model_type":"opt","x":nan}`:                                                          "got no JSON",
		`{"model_type":"opt","x":1NaN}`:                                                         "got no JSON",
	} {
		_, err := ProfileFromTransformers([]byte(in))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", in, err, want)
		}
	}
}

// What is left out is told.
func TestNoticesFromTransformers(t *testing.T) {
	_, notices, err := ReadTransformers(smallWith("pad_token_id", "64"), []byte(`{"eos_token_id":[5,64],"temperature":"hot","num_beams":4,"top_p":2,"typical_p":1.0}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"config.json: pad_token_id 64 is left out: 64 is no token of the vocabulary of 64",
		"generation_config.json: eos_token_id [5,64] is left out: 64 is no token of the vocabulary of 64",
		`generation_config.json: temperature "hot" is left out: want a number above 0`,
		"generation_config.json: top_p 2 is left out: want 0 to 1",
		"generation_config.json: not followed: num_beams",
	}
	if d := cmp.Diff(want, notices); d != "" {
		t.Error(d)
	}
}

func TestGeneration(t *testing.T) {
	for in, want := range map[string]config.Generation{
		`{}`: {},
		`{"bos_token_id":2,"eos_token_id":[2,55],"pad_token_id":1}`: {EOS: []int32{2, 55}},
		`{"eos_token_id":7,"do_sample":false,"temperature":0.7}`:    {EOS: []int32{7}},
		`{"do_sample":true}`: {Sample: true, Temperature: 1, TopK: 50},
		`{"do_sample":true,"temperature":0.5,"top_k":0,"top_p":0.75,"min_p":0.25,"repetition_penalty":1.5}`: {Sample: true, Temperature: 0.5, TopP: 0.75, MinP: 0.25, RepetitionPenalty: 1.5},
		`{"do_sample":true,"temperature":null,"top_k":null}`:                                                {Sample: true, Temperature: 1, TopK: 50},
		`{"do_sample":true,"temperature":0,"top_k":-1}`:                                                     {Sample: true, Temperature: 1, TopK: 50},
		`{"repetition_penalty":Infinity,"top_k":20.0}`:                                                      {TopK: 20},
		`{"max_new_tokens":40}`:                  {MaxTokens: 40},
		`{"stop_strings":"###"}`:                 {Stop: []string{"###"}},
		`{"stop_strings":["a","b"]}`:             {Stop: []string{"a", "b"}},
		`{"stop_strings":3,"eos_token_id":null}`: {},
		`[]`:                                     {},
		`{"do_sample":true`:                      {},
		"":                                       {},
	} {
		p, notices, err := ReadTransformers(smallWith("vocab_size", "64"), []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, p.Generation); d != "" {
			t.Errorf("%s (%q): %s", in, notices, d)
		}
	}
	p := smallProfile()
	p.Generation.EOS = []int32{9}
	if !p.IsEOS(2) || !p.IsEOS(9) || p.IsEOS(3) {
		t.Error("want config.json's and generation_config.json's tokens, and no others, to end a text")
	}
	if p.Generation.EOS = []int32{64}; p.Validate() == nil {
		t.Error("a token outside the vocabulary: got no error")
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
		want := config.ModelProfile{
			Family: "opt", VocabSize: 50272, EmbedDim: c.embed, HiddenSize: c.d, Layers: c.layers,
			Heads: c.heads, KVHeads: c.heads, FFN: c.ffn, NeuronParts: 2, MaxPositions: 2048, LearnedPositions: true,
			PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm, NormEps: 1e-5, NormAffine: true,
			PreNorm: c.preNorm, FinalNorm: c.finalNorm, Bias: true, TiedHead: true,
			BOS: 2, PAD: 1, EOS: []int32{2},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
		if got.HeadDim() != c.headDim || got.Neurons() != c.neurons || 2*int64(got.KVDim()) != c.kvBytes {
			t.Errorf("%s: got head dim %d, %d neurons, kv dim %d", c.name, got.HeadDim(), got.Neurons(), got.KVDim())
		}
		if n := got.BundleBytes(tensor.F16); n != c.bundleBytes {
			t.Errorf("%s: got bundles of %d bytes, want %d", c.name, n, c.bundleBytes)
		}
	}
}

func FuzzProfileFromTransformers(f *testing.F) {
	f.Add([]byte("{}"))
	for _, family := range []string{"llama", "mistral", "qwen2", "qwen3", "gemma3"} {
		f.Add(drawn(family, object{"sliding_window": 9, "use_sliding_window": true, "rope_scaling": object{"type": "yarn", "factor": 2}}))
	}
	for _, family := range []string{"qwen2_moe", "qwen3_moe", "olmoe", "mixtral", "gpt_oss", "glm4_moe", "minimax_m2"} {
		f.Add(drawn(family, object{"num_experts": 8, "num_experts_per_tok": 3, "mlp_only_layers": []int{1}, "n_group": 2, "topk_group": 2}))
	}
	f.Add(drawn("gemma3", object{"text_config": object{"layer_types": []string{"full_attention"}, "rope_parameters": object{"full_attention": object{}}}}))
	f.Add(smallWith("eos_token_id", "[2, 3]"))
	f.Add(smallWith("hidden_size", "48.0"))
	f.Add(smallWith("activation_function", `"gelu"`))
	f.Add(smallWith("tie_word_embeddings", "null"))
	f.Add([]byte(`{"architectures":["OPTModel"],"dropout":NaN,"eos_token_id":[1,-1,99999]}`))
	f.Add([]byte(`{"model_type":"opt","stop_strings":[]}`))
	f.Add([]byte(`{"model_type":"opt","do_sample":true,"top_k":3,"stop_strings":["x"],"temperature":1e-3}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, _, err := ReadTransformers(raw, raw)
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
		var back config.ModelProfile
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, back); d != "" {
			t.Fatalf("changed on its way through JSON:\n%s", d)
		}
	})
}
