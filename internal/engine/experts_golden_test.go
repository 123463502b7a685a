package engine_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/twin"
	"github.com/sparseflow/sparseflow/internal/source"
)

// The reference's logits, greedy tokens and experts on every golden mixture of experts:
// as its checkpoint, where it lies or packed where that cannot be, as a pack, and as
// the GGUF file that llama.cpp answers alike; all in memory, half, and all streamed.
func TestGoldenExperts(t *testing.T) {
	for _, name := range []string{"qwen3-moe", "qwen2-moe", "olmoe", "mixtral", "gpt-oss", "glm4-moe", "minimax-m2"} {
		t.Run(name, func(t *testing.T) {
			dir, ok := twin.Checkpoint("../..", name)
			if !ok {
				t.Skipf("no golden checkpoint %s beside the repository", name)
			}
			g := readGolden(t, filepath.Join(dir, "golden.json"))
			gguf := filepath.Join(t.TempDir(), name+".gguf")
			writeTwin(t, name, os.DirFS(dir), gguf)
			for _, form := range []struct{ name, path string }{
				{"checkpoint", dir}, {"pack", packOf(t, os.DirFS(dir), dir)}, {"twin", gguf},
			} {
				cache := t.TempDir()
				o := engine.Options{Strategy: strategy(config.Auto, 1)}
				o.Strategy.Activations = config.F32Activations // as the reference multiplies gpt-oss's blocks
				least := leastShare(openMixture(t, form.path, cache, o).Placement())
				for _, share := range []float64{3, max(0.5, least), least} {
					if testing.Short() && share != least {
						continue // placements give the same bits, by other tests
					}
					t.Run(fmt.Sprintf("%s, %.0f%%", form.name, 100*share), func(t *testing.T) {
						o.Strategy.Budget.Share = share
						checkExperts(t, g, form.path, cache, o)
					})
				}
			}
		})
	}
}

func writeTwin(t *testing.T, name string, src fs.FS, path string) {
	t.Helper()
	c, err := source.Open(src, name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := twin.Write("../../testdata/twins/"+name+".json.gz", c, path); err != nil {
		t.Fatal(err)
	}
}

// checkExperts is checkGolden, and holds which experts the last token of each case is
// given to.
func checkExperts(t *testing.T, g golden, path, cache string, o engine.Options) {
	chosen := map[int][]int32{}
	o.Wanted = func(layer int, ids []int32) { chosen[layer] = slices.Clone(ids) }
	e := openMixture(t, path, cache, o)
	checkGolden(t, g, e, nil)
	p := e.Profile()
	for n, c := range g.Cases {
		last := len(c.IDs) - 1
		if last == 0 {
			continue // no step of decoding gives it
		}
		clear(chosen)
		// Forced to be generated, so that its step is one of decoding.
		if _, err := e.Run(t.Context(), engine.Request{IDs: c.IDs[:last], Force: []int32{c.IDs[last], 0}, MaxTokens: 2, IgnoreEOS: true}); err != nil {
			t.Fatal(err)
		}
		var got [][]int32
		for i := range p.Layers {
			if p.MoE(i).Experts > 0 {
				got = append(got, chosen[i])
			}
		}
		for i, want := range c.Experts {
			want = slices.Clone(want)
			slices.Sort(want)
			if i >= len(got) || !slices.Equal(got[i], want) {
				t.Errorf("case %d: got experts %v, want %v", n, got, c.Experts)
				break
			}
		}
		if len(got) != len(c.Experts) {
			t.Errorf("case %d: got experts of %d layers, want %d", n, len(got), len(c.Experts))
		}
	}
}
