package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// goldenDir holds checkpoints written by the reference implementation.
const goldenDir = "../../testdata/opt"

// Every golden checkpoint has everything that its config asks for, and nothing
// that is unknown.
func TestGolden(t *testing.T) {
	dirs, err := os.ReadDir(goldenDir)
	if err != nil || len(dirs) != 9 {
		t.Fatalf("got %d checkpoints in %s, %v, want 9", len(dirs), goldenDir, err)
	}
	for _, e := range dirs {
		dir := filepath.Join(goldenDir, e.Name())
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
		defer c.Close()
		m, err := Map(c, p, dir)
		if err != nil {
			t.Fatal(err)
		}
		want := len(c.Names())
		if _, ok := c.Tensor("lm_head.weight"); ok && p.TiedHead {
			want--
		}
		if n := len(m.Resident) + 2*len(m.Layers); len(m.Notices) > 0 || p.Sparse() != (len(m.Layers) == p.Layers) || n != want {
			t.Errorf("%s: got %d tensors of %d layers and notices %q, want %d tensors", e.Name(), n, len(m.Layers), m.Notices, want)
		}
	}
}

// profile is a model of one layer with every tensor that OPT can have.
func profile() config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: 7, EmbedDim: 2, HiddenSize: 4, Layers: 1, Heads: 2, KVHeads: 2, FFN: 5, NeuronParts: 2,
		MaxPositions: 3, LearnedPositions: true, PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm, NormEps: 1e-5,
		NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true, BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// stored lists the checkpoint of profile: shapes by name below the prefix, with
// the pack's name for each.
var stored = []struct {
	name, pack string
	shape      []int64
}{
	{"embed_tokens.weight", "embed.tokens", []int64{7, 2}},
	{"embed_positions.weight", "embed.positions", []int64{5, 4}},
	{"project_in.weight", "project.in", []int64{4, 2}},
	{"project_out.weight", "project.out", []int64{2, 4}},
	{"final_layer_norm.weight", "final_norm.weight", []int64{4}},
	{"final_layer_norm.bias", "final_norm.bias", []int64{4}},
	{"layers.0.self_attn_layer_norm.weight", "layers.0.attn_norm.weight", []int64{4}},
	{"layers.0.self_attn_layer_norm.bias", "layers.0.attn_norm.bias", []int64{4}},
	{"layers.0.self_attn.q_proj.weight", "layers.0.attn.q.weight", []int64{4, 4}},
	{"layers.0.self_attn.q_proj.bias", "layers.0.attn.q.bias", []int64{4}},
	{"layers.0.self_attn.k_proj.weight", "layers.0.attn.k.weight", []int64{4, 4}},
	{"layers.0.self_attn.k_proj.bias", "layers.0.attn.k.bias", []int64{4}},
	{"layers.0.self_attn.v_proj.weight", "layers.0.attn.v.weight", []int64{4, 4}},
	{"layers.0.self_attn.v_proj.bias", "layers.0.attn.v.bias", []int64{4}},
	{"layers.0.self_attn.out_proj.weight", "layers.0.attn.o.weight", []int64{4, 4}},
	{"layers.0.self_attn.out_proj.bias", "layers.0.attn.o.bias", []int64{4}},
	{"layers.0.final_layer_norm.weight", "layers.0.mlp_norm.weight", []int64{4}},
	{"layers.0.final_layer_norm.bias", "layers.0.mlp_norm.bias", []int64{4}},
	{"layers.0.fc1.bias", "layers.0.mlp.up.bias", []int64{5}},
	{"layers.0.fc2.bias", "layers.0.mlp.down.bias", []int64{4}},
	{"layers.0.fc1.weight", "", []int64{5, 4}},
	{"layers.0.fc2.weight", "", []int64{4, 5}},
}

// An entry of a test checkpoint.
type entry struct {
	name, dtype string
	shape       []int64
}

func all(prefix string) (list []entry) {
	for _, s := range stored {
		list = append(list, entry{prefix + s.name, "F16", s.shape})
	}
	return append(list, entry{"lm_head.weight", "F16", []int64{7, 2}})
}

// open writes a checkpoint of zeros and opens it.
func open(t *testing.T, list []entry) *source.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	var entries []source.SafetensorsEntry
	total := int64(0)
	for _, e := range list {
		n := map[string]int64{"F8_E4M3": 1, "F16": 2, "F32": 4, "I64": 8}[e.dtype]
		for _, d := range e.shape {
			n *= d
		}
		entries = append(entries, source.SafetensorsEntry{Name: e.name, DType: e.dtype, Shape: e.shape, Bytes: n})
		total += n
	}
	header, err := source.BuildHeader(nil, entries, 8)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "model.safetensors"), append(header, make([]byte, total)...), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := source.Open(os.DirFS(dir), "the-model")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Names map as listed, under every prefix.
func TestNames(t *testing.T) {
	for _, prefix := range []string{"model.decoder.", "decoder.", "model.", ""} {
		m, err := Map(open(t, all(prefix)), profile(), "the-model")
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Notices) > 0 {
			t.Errorf("prefix %q: got notices %q, want none", prefix, m.Notices)
		}
		for _, s := range stored {
			if s.pack != "" && (m.Resident[s.pack] == nil || m.Resident[s.pack].Name != prefix+s.name) {
				t.Errorf("%s: got %+v, want %s", s.pack, m.Resident[s.pack], prefix+s.name)
			}
		}
		if m.Resident["head"].Name != "lm_head.weight" || len(m.Resident) != len(stored)-1 {
			t.Errorf("prefix %q: got head %+v and %d tensors", prefix, m.Resident["head"], len(m.Resident))
		}
		if l := m.Layers[0]; l.Up.Name != prefix+"layers.0.fc1.weight" || l.Down.Name != prefix+"layers.0.fc2.weight" {
			t.Errorf("layer 0: got %s and %s", l.Up.Name, l.Down.Name)
		}
	}
}

// Leaving out any one tensor, or shaping it otherwise, is an error that names
// it, the checkpoint and both shapes.
func TestMissingAndMisshapen(t *testing.T) {
	whole := all("model.decoder.")
	for i, e := range whole {
		_, err := Map(open(t, slices.Delete(slices.Clone(whole), i, i+1)), profile(), "the-model")
		for _, want := range []string{"the-model", "model.safetensors", fmt.Sprint(e.shape), e.name, " ("} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("without %s: got %v, want an error with %q", e.name, err, want)
			}
		}
		changed := slices.Clone(whole)
		changed[i].shape = append([]int64{1}, e.shape...)
		_, err = Map(open(t, changed), profile(), "the-model")
		for _, want := range []string{"the-model", e.name, fmt.Sprint("got shape ", changed[i].shape, ", want ", e.shape)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%s of another shape: got %v, want an error with %q", e.name, err, want)
			}
		}
		changed = slices.Clone(whole)
		changed[i].dtype = "I64"
		if _, err = Map(open(t, changed), profile(), "the-model"); err == nil || !strings.Contains(err.Error(), "I64") {
			t.Fatalf("%s of integers: got %v, want an error", e.name, err)
		}
	}
}

// What a variant of the model does not have is not asked for, and what it has
// beyond that is told, unless it is known to be harmless.
func TestVariants(t *testing.T) {
	whole := all("decoder.")
	for name, c := range map[string]struct {
		change  func(*config.ModelProfile)
		more    []entry
		notices []string // parts of each
	}{
		"tied":          {func(p *config.ModelProfile) { p.TiedHead = true }, nil, nil},
		"no final norm": {func(p *config.ModelProfile) { p.FinalNorm = false }, nil, []string{`"decoder.final_layer_norm.bias"`, `"decoder.final_layer_norm.weight"`}},
		"position ids":  {func(*config.ModelProfile) {}, []entry{{"decoder.position_ids", "I64", []int64{1, 3}}}, nil},
		"an adapter":    {func(*config.ModelProfile) {}, []entry{{"lora.weight", "F16", []int64{1, 3}}}, []string{`"lora.weight" of shape [1 3]`}},
		"no bias": {func(p *config.ModelProfile) { p.Bias = false }, nil,
			[]string{"fc1.bias", "fc2.bias", "k_proj.bias", "out_proj.bias", "q_proj.bias", "v_proj.bias"}},
	} {
		p := profile()
		c.change(&p)
		m, err := Map(open(t, append(slices.Clone(whole), c.more...)), p, "the-model")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ok := len(m.Notices) == len(c.notices)
		for i := range c.notices {
			ok = ok && strings.Contains(m.Notices[i], c.notices[i])
		}
		if !ok {
			t.Errorf("%s: got notices %q, want %q", name, m.Notices, c.notices)
		}
	}
}

// A tied pair may be stored under the head's name alone.
func TestTiedUnderHead(t *testing.T) {
	p := profile()
	p.TiedHead = true
	m, err := Map(open(t, all("model.decoder.")[1:]), p, "the-model")
	if err != nil || m.Resident["embed.tokens"].Name != "lm_head.weight" {
		t.Errorf("got %+v, %v, want lm_head.weight", m, err)
	}
}

// Notices are bounded.
func TestManyExtras(t *testing.T) {
	list := all("")
	for i := range 30 {
		list = append(list, entry{fmt.Sprintf("x.%02d", i), "F16", []int64{1}})
	}
	m, err := Map(open(t, list), profile(), "the-model")
	if err != nil || len(m.Notices) != maxNotices+1 || !strings.Contains(m.Notices[maxNotices], "20 more") {
		t.Errorf("got %q, %v, want %d notices, the last of 20 more", m.Notices, err, maxNotices+1)
	}
}
