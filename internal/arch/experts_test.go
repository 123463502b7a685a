package arch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// goldenFamily is the folder of a family's checkpoint that the reference
// implementation wrote.
func goldenFamily(t *testing.T, name string) string {
	t.Helper()
	for _, at := range []string{"../../testdata/families", "../../../shared/golden/families"} {
		dir := filepath.Join(at, name)
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skipf("no golden checkpoint %s beside the repository", name)
	return ""
}

// read is the profile and the mapping of a checkpoint.
func read(t *testing.T, dir string) (config.ModelProfile, *source.Checkpoint, *Mapping) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ProfileFromTransformers(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := source.Open(os.DirFS(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := Map(c, p, dir)
	if err != nil {
		t.Fatal(err)
	}
	return p, c, m
}

// Of every golden checkpoint with experts all that the profile wants is there, all
// that is there is used, and the experts are those of the reference.
func TestGoldenExperts(t *testing.T) {
	softmax := config.Router{Kind: config.RouterSoftmax, Normalize: true}
	for name, want := range map[string]struct {
		moe    config.MoE
		dense  []int // layers without experts
		change func(*config.ModelProfile)
	}{
		"qwen3-moe": {config.MoE{Experts: 16, TopK: 4, Width: 48, Router: softmax}, []int{1}, func(p *config.ModelProfile) {
			p.KVHeads, p.HeadSize, p.QKNorm = 2, 32, config.QKNormPerHead
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, m := read(t, goldenFamily(t, name))
			if len(m.Notices) > 0 || len(m.Experts) != p.Layers {
				t.Errorf("got experts of %d layers and notices %q, want %d and none", len(m.Experts), m.Notices, p.Layers)
			}
			used := map[string]bool{}
			for _, x := range m.Resident {
				used[x.Name] = true
			}
			for i, x := range m.Experts {
				if got := p.MoE(i); slices.Contains(want.dense, i) != (got == config.MoE{}) || got.Experts > 0 && got != want.moe {
					t.Errorf("layer %d: got %+v, want %+v", i, got, want.moe)
				}
				checkExperts(t, p, i, x, used)
			}
			if len(used) != len(c.Names()) {
				t.Errorf("got %d tensors in use, want all %d", len(used), len(c.Names()))
			}
			plain := p
			plain.Kinds, plain.KindOf = nil, nil
			w := config.ModelProfile{
				Family: strings.ReplaceAll(name, "-", "_"), VocabSize: 320, EmbedDim: 64, HiddenSize: 64, Layers: 4, Heads: 4, KVHeads: 4,
				HeadSize: 16, FFN: 96, NeuronParts: 3, MaxPositions: 128, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-6,
				NormAffine: true, PreNorm: true, FinalNorm: true, BOS: 1, PAD: 0, EOS: []int32{2},
			}
			want.change(&w)
			if d := cmp.Diff(w, plain); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// checkExperts wants every part of every expert to lie within its tensor and apart
// from the others, and adds the tensors to used.
func checkExperts(t *testing.T, p config.ModelProfile, layer int, x Experts, used map[string]bool) {
	t.Helper()
	m, rows := p.MoE(layer), map[string]map[int64]bool{}
	for part, shape := range p.ExpertTensors(layer) {
		if len(x.Parts[part]) != m.Experts {
			t.Fatalf("layer %d: got %d experts, want %d", layer, len(x.Parts[part]), m.Experts)
		}
		for e, s := range x.Parts[part] {
			name := s.Tensor.Name
			used[name] = true
			if rows[name] == nil {
				rows[name] = map[int64]bool{}
			}
			all := int64(1)
			for _, n := range s.Tensor.Shape[:len(s.Tensor.Shape)-1] {
				all *= n
			}
			for i := range int64(shape.Rows) {
				row := s.First + i*s.Step
				if row >= all || rows[name][row] {
					t.Fatalf("%s of expert %d: got row %d of %s, which has %d or gives it twice", shape.Name, e, row, name, all)
				}
				rows[name][row] = true
			}
			if cols := s.Tensor.Shape[len(s.Tensor.Shape)-1]; cols != int64(shape.Cols) {
				t.Fatalf("%s of expert %d: got %d columns, want %d", shape.Name, e, cols, shape.Cols)
			}
		}
	}
}

// expertsLeast is the metadata and tensors of a GGUF model of two layers with
// experts: 4 of width 6.
func expertsLeast(architecture string) (map[string]any, map[string][]int64) {
	m := least(architecture)
	maps.Copy(m, map[string]any{
		architecture + ".expert_count": uint32(4), architecture + ".expert_used_count": uint32(2),
		architecture + ".expert_feed_forward_length": uint32(6),
	})
	tensors := embedding()
	tensors["output_norm.weight"] = []int64{8}
	for i := range 2 {
		at := fmt.Sprintf("blk.%d.", i)
		for name, shape := range map[string][]int64{
			"attn_norm": {8}, "attn_q": {8, 8}, "attn_k": {8, 8}, "attn_v": {8, 8}, "attn_output": {8, 8},
			"ffn_norm": {8}, "ffn_gate_inp": {4, 8}, "ffn_gate_exps": {4, 6, 8}, "ffn_up_exps": {4, 6, 8}, "ffn_down_exps": {4, 8, 6},
		} {
			tensors[at+name+".weight"] = shape
		}
	}
	return m, tensors
}

func expertsFile(t testing.TB, architecture string) []byte {
	meta, tensors := expertsLeast(architecture)
	return encoded(t, meta, tensors)
}

// Experts of GGUF models lie in one tensor a part, or gate and up in one.
func TestGGUFExperts(t *testing.T) {
	for name, change := range map[string]func(tensors map[string][]int64){
		"apart": func(map[string][]int64) {},
		"fused": func(tensors map[string][]int64) {
			for i := range 2 {
				at := fmt.Sprintf("blk.%d.", i)
				delete(tensors, at+"ffn_gate_exps.weight")
				delete(tensors, at+"ffn_up_exps.weight")
				tensors[at+"ffn_gate_up_exps.weight"] = []int64{4, 12, 8}
			}
		},
	} {
		meta, tensors := expertsLeast("qwen3moe")
		change(tensors)
		c := opened(t, encoded(t, meta, tensors))
		p, err := ReadGGUF(c)
		if err != nil {
			t.Fatal(err)
		}
		want := config.MoE{Experts: 4, TopK: 2, Width: 6, Router: config.Router{Kind: config.RouterSoftmax, Normalize: true}}
		if len(p.Kinds) != 1 || p.MoE(1) != want {
			t.Errorf("%s: got %+v, want %+v in all layers", name, p.Kinds, want)
		}
		m, err := Map(c, p, "m.gguf")
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for i, x := range m.Experts {
			checkExperts(t, p, i, x, used)
		}
		if n := len(used) + len(m.Resident); len(m.Notices) > 0 || n != len(tensors) {
			t.Errorf("%s: got %d tensors in use and notices %q, want %d", name, n, m.Notices, len(tensors))
		}
		if s := m.Experts[1].Parts[1][3]; name == "fused" && (s.First != 3*12+6 || s.Step != 1) || name == "apart" && s.First != 3*6 {
			t.Errorf("%s: got up of the last expert from row %d on, want the rows behind its gate", name, s.First)
		}
	}
}

// What metadata and tensors disagree about is refused in one line that names it.
func TestGGUFExpertsErrors(t *testing.T) {
	for _, c := range []struct {
		key    string
		value  any
		tensor string
		shape  []int64 // nil: none
		want   string
	}{
		{"expert_count", uint32(5), "", nil, `tensor "blk.0.ffn_gate_inp.weight" (layers.0.moe.router.weight): got shape [4 8], want [5 8] by its metadata`},
		{"expert_count", uint32(1 << 20), "", nil, "got 1048576 experts, want 1 to 16384"},
		{"expert_count", nil, "", nil, "got qwen3moe.expert_count <nil>, want a whole number"},
		{"expert_used_count", uint32(5), "", nil, "got 5 experts for each token, want 1 to the layer's 4"},
		{"expert_used_count", uint32(0), "", nil, "got 0 experts for each token, want 1 to the layer's 4"},
		{"expert_feed_forward_length", uint32(1 << 30), "", nil, "got experts of 1073741824 neurons, want 1 to 1048576"},
		{"expert_feed_forward_length", uint32(7), "", nil, `tensor "blk.0.ffn_gate_exps.weight" (layers.0.moe.experts.gate): got shape [4 6 8], want [4 7 8] by its metadata`},
		{"expert_gating_func", uint32(9), "", nil, "got qwen3moe.expert_gating_func 9, want 1 to 3"},
		{"expert_weights_norm", "yes", "", nil, "got qwen3moe.expert_weights_norm yes, want true or false"},
		{"", nil, "blk.1.ffn_down_exps.weight", nil, `got no tensor "blk.1.ffn_down_exps.weight" (layers.1.moe.experts.down) in m.gguf, want one of shape [4 8 6] by its metadata`},
		{"", nil, "blk.1.ffn_up_exps.weight", nil, `got no tensor "blk.1.ffn_up_exps.weight"`},
		{"", nil, "blk.1.ffn_gate_inp.weight", nil, `got no tensor "blk.1.ffn_gate_inp.weight"`},
		{"", nil, "blk.1.ffn_up_exps.weight", []int64{3, 6, 8}, `tensor "blk.1.ffn_up_exps.weight" (layers.1.moe.experts.up): got shape [3 6 8], want [4 6 8]`},
	} {
		meta, tensors := expertsLeast("qwen3moe")
		if c.key != "" {
			if meta["qwen3moe."+c.key] = c.value; c.value == nil {
				delete(meta, "qwen3moe."+c.key)
			}
		}
		if c.tensor != "" {
			if tensors[c.tensor] = c.shape; c.shape == nil {
				delete(tensors, c.tensor)
			}
		}
		ckpt := opened(t, encoded(t, meta, tensors))
		p, err := ReadGGUF(ckpt)
		if err == nil {
			_, err = Map(ckpt, p, "m.gguf")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v %s: got %v, want %q", c.key, c.value, c.tensor, err, c.want)
		}
	}
}
