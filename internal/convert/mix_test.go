package convert

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A mix gives each matrix the type of its place, and the pack holds the
// checkpoint's values in that.
func TestMix(t *testing.T) {
	for _, c := range []struct {
		o       Options
		d       int
		types   map[string]tensor.DType
		notices []string
	}{
		{Options{Attn: "q4_k_m", MLP: "q4_k_m"}, 256, map[string]tensor.DType{
			"embed.tokens": tensor.Q6_K, "embed.positions": tensor.Q4_K, "layers.0.attn.q.weight": tensor.Q4_K,
			"layers.0.attn.v.weight": tensor.Q4_K, "layers.1.attn.v.weight": tensor.Q4_K, "layers.2.attn.v.weight": tensor.Q6_K,
		}, []string{"neurons with rows of 256 elements are Q4_0 in place of Q4_K"}},
		{Options{Attn: "q6_k", MLP: "q5_1"}, 256, map[string]tensor.DType{
			"embed.tokens": tensor.Q6_K, "layers.0.attn.v.weight": tensor.Q6_K, "layers.2.attn.o.weight": tensor.Q6_K,
		}, []string{"neurons with rows of 256 elements are Q8_0 in place of Q5_1"}},
		{Options{Attn: "q4_k_m", MLP: "q4_k"}, 96, map[string]tensor.DType{
			"embed.tokens": tensor.Q8_0, "layers.0.attn.v.weight": tensor.Q5_0, "layers.2.attn.v.weight": tensor.Q8_0,
		}, []string{"matrices with rows of 96 elements are Q5_0 in place of Q4_K", "neurons with rows of 96 elements are Q4_0 in place of Q4_K"}},
	} {
		dir, path := filepath.Join(t.TempDir(), "m"), filepath.Join(t.TempDir(), "m.sflow")
		randomOPT{vocab: 50, d: c.d, layers: 3, heads: 4, ffn: 96, positions: 10, dtype: tensor.F16}.write(t, dir)
		r, err := Convert(t.Context(), os.DirFS(dir), dir, path, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Notices, c.notices) {
			t.Errorf("%+v: got notices %q, want %q", c.o, r.Notices, c.notices)
		}
		checkPack(t, dir, path)
		p, err := pack.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range c.types {
			if x, ok := p.Tensor(name); !ok || x.Elem != want {
				t.Errorf("%+v: %s: got %v, want %v", c.o, name, x.Elem, want)
			}
		}
		p.Close()
	}
}
