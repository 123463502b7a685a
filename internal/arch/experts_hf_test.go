package arch

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// routed is a config.json of two layers with 4 experts of 6 neurons, and the tensors of
// its checkpoint but for the experts.
func routed(t *testing.T, modelType, router string, more object) (config.ModelProfile, []entry) {
	t.Helper()
	all := object{
		"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4, "num_hidden_layers": 2, "vocab_size": 50,
		"intermediate_size": 6, "moe_intermediate_size": 6, "num_experts": 4, "num_experts_per_tok": 2, "bos_token_id": nil, "eos_token_id": nil,
	}
	for key, v := range more {
		all[key] = v
	}
	p, err := ProfileFromTransformers(drawn(modelType, all))
	if err != nil {
		t.Fatal(err)
	}
	list := []entry{
		{"model.embed_tokens.weight", "F16", []int64{50, 8}}, {"model.norm.weight", "F16", []int64{8}}, {"lm_head.weight", "F16", []int64{50, 8}},
	}
	for i := range 2 {
		at := fmt.Sprintf("model.layers.%d.", i)
		list = append(list, entry{at + "input_layernorm.weight", "F16", []int64{8}}, entry{at + "post_attention_layernorm.weight", "F16", []int64{8}},
			entry{at + "mlp." + router + ".weight", "F16", []int64{4, 8}})
		for _, part := range []string{"q", "k", "v", "o"} {
			list = append(list, entry{at + "self_attn." + part + "_proj.weight", "F16", []int64{8, 8}})
		}
	}
	return p, list
}

// inLayers are entries of both layers.
func inLayers(list ...entry) (all []entry) {
	for i := range 2 {
		for _, e := range list {
			e.name = fmt.Sprintf("model.layers.%d.%s", i, e.name)
			all = append(all, e)
		}
	}
	return all
}

// eachExpert are the experts of a layer, a tensor each.
func eachExpert() (list []entry) {
	for e := range 4 {
		at := fmt.Sprintf("mlp.experts.%d.", e)
		list = append(list, entry{at + "gate_proj.weight", "F16", []int64{6, 8}}, entry{at + "up_proj.weight", "F16", []int64{6, 8}}, entry{at + "down_proj.weight", "F16", []int64{8, 6}})
	}
	return list
}

func qwenNorms() []entry {
	return []entry{{"self_attn.q_norm.weight", "F16", []int64{4}}, {"self_attn.k_norm.weight", "F16", []int64{4}}}
}

// mapped is the mapping of a checkpoint without notices and with all its experts apart.
func mapped(t *testing.T, p config.ModelProfile, list []entry) *Mapping {
	t.Helper()
	m, err := Map(open(t, list), p, "the-model")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Notices) > 0 {
		t.Errorf("got notices %q, want none", m.Notices)
	}
	for i, x := range m.Experts {
		checkExperts(t, p, i, x, map[string]bool{})
	}
	return m
}

// Experts may lie a tensor each, or all in two.
func TestExpertForms(t *testing.T) {
	p, list := routed(t, "qwen3_moe", "gate", nil)
	list = append(list, inLayers(qwenNorms()...)...)
	mapped(t, p, append(slices.Clone(list), inLayers(eachExpert()...)...))
	m := mapped(t, p, append(slices.Clone(list), inLayers(
		entry{"mlp.experts.gate_up_proj", "F16", []int64{4, 12, 8}}, entry{"mlp.experts.down_proj", "F16", []int64{4, 8, 6}})...))
	if gate, up := m.Experts[1].Parts[0][3], m.Experts[1].Parts[1][3]; gate.First != 36 || up.First != 42 || up.Step != 1 {
		t.Errorf("got gate and up of the last expert from rows %d and %d on, want 36 and 42", gate.First, up.First)
	}
}

// Weights of 8 bits come with scales, those of a norm do not.
func TestExpertsFP8(t *testing.T) {
	p, list := routed(t, "qwen3_moe", "gate", nil)
	list = append(list, inLayers(append(eachExpert(), qwenNorms()...)...)...)
	for _, e := range slices.Clone(list) {
		if strings.Contains(e.name, "_proj.") {
			i := slices.IndexFunc(list, func(x entry) bool { return x.name == e.name })
			list[i].dtype = "F8_E4M3"
			list = append(list, entry{e.name + "_scale_inv", "F32", []int64{1, 1}})
		}
	}
	m := mapped(t, p, list)
	if x := m.Experts[0].Parts[2][1].Tensor; x.DType != tensor.BF16 || x.Stored != "F8_E4M3" {
		t.Errorf("got %s read as %v, want F8_E4M3 as BF16", x.Stored, x.DType)
	}
	last := len(list) - 1
	list[last].shape = []int64{1, 2}
	if _, err := Map(open(t, list), p, "the-model"); err == nil || !strings.Contains(err.Error(), `got scales of shape [1 2] beside weights of [8 6], want [1 1]`) {
		t.Errorf("got %v", err)
	}
	if _, err := Map(open(t, list[:last]), p, "the-model"); err == nil || !strings.Contains(err.Error(), `layers.1.moe.experts.down of expert 3: `) || !strings.Contains(err.Error(), "F8_E4M3") {
		t.Errorf("without scales: got %v", err)
	}
}

// gpt-oss's experts are columns, and gate and up take turns, where they are not in
// blocks.
func TestExpertColumns(t *testing.T) {
	p, list := routed(t, "gpt_oss", "router", object{"attention_bias": false})
	list = append(list, inLayers(
		entry{"self_attn.sinks", "F16", []int64{2}}, entry{"mlp.router.bias", "F16", []int64{4}},
		entry{"mlp.experts.gate_up_proj", "F16", []int64{4, 8, 12}}, entry{"mlp.experts.down_proj", "F16", []int64{4, 6, 8}},
		entry{"mlp.experts.gate_up_proj_bias", "F16", []int64{4, 12}}, entry{"mlp.experts.down_proj_bias", "F16", []int64{4, 8}})...)
	m := mapped(t, p, list)
	if gate, up := m.Experts[1].Parts[0][3], m.Experts[1].Parts[1][3]; gate.First != 36 || up.First != 37 || up.Step != 2 {
		t.Errorf("got gate and up of the last expert from rows %d and %d on in steps of %d, want 36 and 37 in steps of 2", gate.First, up.First, up.Step)
	}
	for _, name := range []string{"gate", "up", "down"} {
		x, want := m.Resident["layers.1.moe.experts."+name+".bias"], []int64{4, 6}
		if name == "down" {
			want[1] = 8
		}
		if n, err := x.ReadAt(make([]byte, x.Bytes()), 0); !slices.Equal(x.Shape, want) || int64(n) != 2*4*want[1] || err != nil && err != io.EOF {
			t.Errorf("biases of %s: got shape %v and %d bytes, %v, want %v", name, x.Shape, n, err, want)
		}
	}
}

// Where gate and up take turns, a row and a bias are every second one of those stored.
func TestGoldenTurns(t *testing.T) {
	p, c, m := read(t, goldenFamily(t, "gpt-oss"))
	stored, _ := c.Tensor("model.layers.2.mlp.experts.gate_up_proj_bias")
	all := contents(t, stored)
	for part, name := range []string{"gate", "up"} {
		got := contents(t, m.Resident["layers.2.moe.experts."+name+".bias"])
		for i := 0; i < len(got); i += 2 {
			if from := 2*i + 2*part; string(got[i:i+2]) != string(all[from:from+2]) {
				t.Fatalf("bias %d of %s: got another than the reference", i/2, name)
			}
		}
	}
	if n := p.MoE(2).Width; len(all) != 8*2*n*2 {
		t.Errorf("got %d bytes of biases of %d neurons", len(all), n)
	}
}

func contents(t *testing.T, x *source.Tensor) []byte {
	t.Helper()
	b := make([]byte, x.Bytes())
	if n, err := x.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	return b
}

// A layer behind the last one is left out where the family has one that predicts
// tokens further on, and told of where it has not.
func TestLayersAhead(t *testing.T) {
	more := entry{"model.layers.2.eh_proj.weight", "F16", []int64{8, 16}}
	p, list := routed(t, "glm4_moe", "gate", object{"first_k_dense_replace": 0, "n_shared_experts": 0})
	list = append(list, inLayers(append(eachExpert(), entry{"mlp.gate.e_score_correction_bias", "F16", []int64{4}})...)...)
	mapped(t, p, append(slices.Clone(list), more))
	more.name = "model.layers.3.eh_proj.weight"
	if m, err := Map(open(t, append(list, more)), p, "the-model"); err != nil || len(m.Notices) != 1 {
		t.Errorf("got %v and notices %q, want one", err, m.Notices)
	}
	p, list = routed(t, "qwen3_moe", "gate", nil)
	more.name = "model.layers.2.eh_proj.weight"
	list = append(list, inLayers(append(eachExpert(), qwenNorms()...)...)...)
	if m, err := Map(open(t, append(list, more)), p, "the-model"); err != nil || len(m.Notices) != 1 {
		t.Errorf("got %v and notices %q, want one", err, m.Notices)
	}
}

// What config.json says that no model can be, or the tensors are not, is refused in
// one line that names it.
func TestExpertsErrors(t *testing.T) {
	for _, c := range []struct {
		modelType string
		more      object
		want      string
	}{
		{"qwen3_moe", object{"num_experts": 1 << 20}, "got 1048576 experts, want 1 to 16384"},
		{"qwen3_moe", object{"num_experts": -1}, "got -1 experts"},
		{"qwen3_moe", object{"num_experts": "many"}, `got num_experts "many", want a whole number`},
		{"qwen3_moe", object{"num_experts_per_tok": 5, "num_experts": 4}, "got 5 experts for each token, want 1 to the layer's 4"},
		{"qwen3_moe", object{"moe_intermediate_size": 1 << 30}, "got experts of 1073741824 neurons, want 1 to 1048576"},
		{"qwen3_moe", object{"decoder_sparse_step": 0}, "got decoder_sparse_step 0, want at least 1"},
		{"qwen3_moe", object{"mlp_only_layers": "none"}, `got mlp_only_layers "none", want a list of layers`},
		{"qwen3_moe", object{"hidden_act": "relu"}, "and no exact zeros"},
		{"gpt_oss", object{"swiglu_limit": 6}, "got swiglu_limit 6, want 7"},
		{"gpt_oss", object{"swiglu_alpha": 1}, "got swiglu_alpha 1, want 1.702"},
		{"gpt_oss", object{"hidden_act": "gelu"}, `got hidden_act "gelu", want silu`},
		{"glm4_moe", object{"n_group": 3, "n_routed_experts": 16}, "got 1 of 3 groups of 16 experts"},
		{"glm4_moe", object{"n_group": 4, "topk_group": 1, "num_experts_per_tok": 5, "n_routed_experts": 16}, "got 5 experts for each token from 1 groups of 4"},
		{"minimax_m2", object{"rotary_dim": 20}, "got RoPE of 20 elements"},
	} {
		if _, err := ProfileFromTransformers(drawn(c.modelType, c.more)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v: got %v, want %q", c.modelType, c.more, err, c.want)
		}
	}
	_, list := routed(t, "qwen3_moe", "gate", nil)
	list = append(list, inLayers(append(eachExpert(), qwenNorms()...)...)...)
	for _, c := range []struct {
		experts int
		without string
		want    string
	}{
		{4, "model.layers.1.mlp.experts.2.up_proj.weight", `got no tensor "model.layers.1.mlp.experts.2.up_proj.weight" (layers.1.moe.experts.up of expert 2) in model.safetensors, want one of shape [6 8] by config.json`},
		{5, "", `tensor "model.layers.0.mlp.gate.weight" (layers.0.moe.router.weight): got shape [4 8], want [5 8] by config.json`},
		{3, "", `tensor "model.layers.0.mlp.gate.weight" (layers.0.moe.router.weight): got shape [4 8], want [3 8] by config.json`},
	} {
		p, _ := routed(t, "qwen3_moe", "gate", object{"num_experts": c.experts})
		some := slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.name == c.without })
		if _, err := Map(open(t, some), p, "the-model"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d experts without %q: got %v, want %q", c.experts, c.without, err, c.want)
		}
	}
}
