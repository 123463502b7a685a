package engine_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// golden is what the reference implementation computed for one checkpoint.
type golden struct {
	Cases []struct {
		IDs      []int32   `json:"ids"`
		Last     []float32 `json:"last_logits"`
		Logprobs []float64 `json:"logprobs_of_next"`
		Active   [][]int32 `json:"active_neurons_last_token"`
		Experts  [][]int32 `json:"experts_last_token"`
		Greedy20 []int32   `json:"greedy_20"`
		Greedy40 []int32   `json:"greedy_40"`
	} `json:"cases"`
}

const goldenDir = "../../testdata/"

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) == 0 {
		t.Fatalf("%s: no cases", path)
	}
	return g
}

// checkpoints are the golden models by name.
func checkpoints(t *testing.T) map[string]fs.FS {
	t.Helper()
	m := map[string]fs.FS{"tiny": tiny.Files}
	for kind, want := range map[string]int{"opt": 9, "families": 8} {
		dirs, err := filepath.Glob(goldenDir + kind + "/*")
		if err != nil || len(dirs) != want {
			t.Fatalf("got %d golden models of %s (%v), want %d", len(dirs), kind, err, want)
		}
		for _, d := range dirs {
			m[kind+"/"+filepath.Base(d)] = os.DirFS(d)
		}
	}
	return m
}

// packOf packs a checkpoint.
func packOf(t testing.TB, src fs.FS, name string) string {
	t.Helper()
	return packAs(t, src, name, convert.Options{})
}

// packAs packs a checkpoint in the element types of o.
func packAs(t testing.TB, src fs.FS, name string, o convert.Options) string {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "m.sflow")
	if _, err := convert.Convert(context.Background(), src, name, dst, o); err != nil {
		t.Fatal(err)
	}
	return dst
}

func open(t testing.TB, path string, o engine.Options) *engine.Engine {
	t.Helper()
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func strategy(mode config.Mode, share float64) config.OffloadStrategy {
	s := config.DefaultStrategy()
	s.Mode = mode
	s.Budget.Share = share
	s.KV = tensor.F32 // as the reference's
	return s
}

// The reference's logits, log-probabilities, greedy tokens and active neurons,
// on every golden checkpoint, in every exact mode, all in memory and streamed.
func TestGolden(t *testing.T) {
	for name, src := range checkpoints(t) {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, goldenDir+name+"/golden.json")
			path := packOf(t, src, name)
			type variant struct {
				name string
				s    config.OffloadStrategy
			}
			variants := []variant{
				{"oracle, 70%", oracle(strategy(config.Predicted, 0.7))},
				{"dense, resident", strategy(config.Dense, 3)},
				{"dense, 50%", strategy(config.Dense, 0.5)},
				{"gate, smallest", strategy(config.Gate, smallest(t, path))},
			}
			sparse := profileOf(t, path).Sparse()
			if !sparse {
				variants = append(variants[1:3], variant{"dense, smallest", strategy(config.Dense, smallest(t, path))})
			}
			for _, v := range variants {
				if testing.Short() && sparse && (v.s.Mode == config.Dense || name == "tiny" && v.s.Mode == config.Gate) {
					continue // placements give the same bits, by other tests
				}
				t.Run(v.name, func(t *testing.T) {
					active := &activeSets{layer: -1, sets: map[int][]int32{}}
					checkGolden(t, g, open(t, path, engine.Options{Strategy: v.s, Observe: active.observe}), active)
				})
			}
		})
	}
}

// profileOf is the profile of a pack.
func profileOf(t *testing.T, path string) config.ModelProfile {
	t.Helper()
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Profile()
}

// activeSets is the active neurons of the newest token, by layer.
type activeSets struct {
	layer int
	sets  map[int][]int32
}

func (a *activeSets) observe(layer, tokens int, w device.Work, h []float32) {
	if layer != a.layer {
		a.layer, a.sets[layer] = layer, nil
	}
	for i, id := range w.IDs {
		if h[(i+1)*tokens-1] != 0 { // negative where a gated neuron is
			a.sets[layer] = append(a.sets[layer], id)
		}
	}
}

// smallest is the least share of the weights that a pack runs in, with every
// neuron computed.
func smallest(t *testing.T, path string) float64 {
	t.Helper()
	return smallestOf(t, path, engine.Options{Strategy: strategy(config.Dense, 1)})
}

// smallestOf is the least share of the weights that a pack runs in with o.
func smallestOf(t *testing.T, path string, o engine.Options) float64 {
	t.Helper()
	place := planOf(t, path, o)
	return (float64(place.Share.MinimumBytes) + 1) / float64(place.Share.TotalBytes)
}

// planOf places a pack.
func planOf(t *testing.T, path string, o engine.Options) *placement.Placement {
	t.Helper()
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	place, err := engine.Plan(p.Layout, o)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func oracle(s config.OffloadStrategy) config.OffloadStrategy {
	s.Predictor = "oracle"
	return s
}

func checkGolden(t *testing.T, g golden, e *engine.Engine, active *activeSets) {
	for n, c := range g.Cases {
		var last []float32
		want := c.Greedy20
		if want == nil {
			want = c.Greedy40
		}
		res, err := e.Run(context.Background(), engine.Request{
			IDs: c.IDs, MaxTokens: len(want), IgnoreEOS: true,
			Logits: func(at int, logits []float32) {
				if at == len(c.IDs)-1 {
					last = slices.Clone(logits)
					for l, want := range c.Active {
						if !slices.Equal(active.sets[l], want) {
							t.Errorf("case %d: active neurons of layer %d: got %v, want %v", n, l, active.sets[l], want)
						}
					}
					return
				}
				if got, want := sample.Logprob(logits, c.IDs[at+1]), c.Logprobs[at]; math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
					t.Errorf("case %d: log-probability of id %d: got %v, want %v", n, at+1, got, want)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := apart(last, c.Last); d > 1e-4 {
			t.Errorf("case %d: logits: got %g of the largest apart, want 1e-4", n, d)
		}
		if !slices.Equal(res.IDs, want) {
			t.Errorf("case %d: greedy: got %v, want %v", n, res.IDs, want)
		}
	}
}

// apart is the largest difference as a share of the largest logit.
func apart(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d, top float64
	for i := range want {
		d = max(d, math.Abs(float64(got[i])-float64(want[i])))
		top = max(top, math.Abs(float64(want[i])))
	}
	return d / top
}
