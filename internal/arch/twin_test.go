package arch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/twin"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A golden checkpoint and its GGUF twin, which llama.cpp answers as the reference
// answers for the checkpoint, are one model: the same profile, the same values.
func TestGoldenTwins(t *testing.T) {
	for _, name := range []string{"qwen3-moe", "qwen2-moe", "olmoe", "mixtral", "gpt-oss", "glm4-moe", "minimax-m2"} {
		t.Run(name, func(t *testing.T) {
			p, c, m := read(t, goldenFamily(t, name))
			path := filepath.Join(t.TempDir(), name+".gguf")
			if err := twin.Write("../../testdata/twins/"+name+".json.gz", c, path); err != nil {
				t.Fatal(err)
			}
			g, err := source.OpenGGUF(os.DirFS(filepath.Dir(path)), path, filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			got, err := ReadGGUF(g)
			if err != nil {
				t.Fatal(err)
			}
			twins, err := Map(g, got, path)
			if err != nil {
				t.Fatal(err)
			}
			if len(twins.Notices) > 0 {
				t.Errorf("got notices %q, want none", twins.Notices)
			}
			if name == "mixtral" { // which is llama in GGUF, with rows in another order
				p.Family = "llama"
				for i := range p.Kinds {
					p.Kinds[i].RoPE.Interleaved = true
				}
			}
			if d := cmp.Diff(p, got); d != "" {
				t.Errorf("profile (-checkpoint +twin)\n%s", d)
			}
			for key, x := range m.Resident {
				if name == "mixtral" && (strings.Contains(key, "attn.q.") || strings.Contains(key, "attn.k.")) {
					continue
				}
				if !slices.Equal(decoded(t, x), decoded(t, twins.Resident[key])) {
					t.Errorf("%s: got other values in the twin", key)
				}
			}
			for i := range p.Layers {
				for part, shape := range p.ExpertTensors(i) {
					for e, s := range m.Experts[i].Parts[part] {
						if !slices.Equal(expertRows(t, s, shape), expertRows(t, twins.Experts[i].Parts[part][e], shape)) {
							t.Fatalf("%s of expert %d: got other values in the twin", shape.Name, e)
						}
					}
				}
			}
		})
	}
}

func decoded(t *testing.T, x *source.Tensor) []float32 {
	t.Helper()
	b := contents(t, x)
	v := make([]float32, len(b)/x.DType.BlockBytes()*x.DType.BlockElems())
	tensor.Decode(v, b, x.DType)
	return v
}

// expertRows are the values of one part of an expert.
func expertRows(t *testing.T, s Slice, shape config.ExpertShape) (v []float32) {
	t.Helper()
	all, cols := decoded(t, s.Tensor), int64(shape.Cols)
	for i := range int64(shape.Rows) {
		v = append(v, all[(s.First+i*s.Step)*cols:][:cols]...)
	}
	return v
}
