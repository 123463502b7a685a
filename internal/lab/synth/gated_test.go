package synth

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// gatedSizes is a published shape of gated neurons, small.
func gatedSizes(t *testing.T, name string, layers int) Sizes {
	t.Helper()
	s, err := Published(name)
	if err != nil {
		t.Fatal(err)
	}
	s.Hidden, s.Layers, s.Heads, s.FFN, s.Vocab, s.Context = 512, layers, 8, 1376, 8000, 512
	return s
}

// The shapes of gated models have the shares of active neurons that are published,
// by layer, and the skew.
func TestGatedStatistics(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, first := range map[string]float64{"relu-llama-7b": 0.25, "prosparse-7b": 0.1068 * 1.56 / 3.3} {
		t.Run(name, func(t *testing.T) {
			sizes := gatedSizes(t, name, 3)
			path := filepath.Join(t.TempDir(), "m.sflow")
			o := Options{Profile: sizes.Profile(), Statistics: sizes.Statistics, Seed: 1}
			if _, err := Pack(t.Context(), path, o, convert.Options{Name: "m"}); err != nil {
				t.Fatal(err)
			}
			p, err := pack.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			strategy := config.DefaultStrategy()
			strategy.Mode, strategy.Context = config.Gate, 512
			pr, err := profile.Open(t.Context(), p, engine.Options{Strategy: strategy})
			if err != nil {
				t.Fatal(err)
			}
			defer pr.Close()
			rec, err := pr.Record(t.Context(), profile.Input{IDs: sample.DrawTokens(8000, 2044, 0), Window: 511, KeepBytes: 100 << 10})
			if err != nil {
				t.Fatal(err)
			}
			rep, want, hot := profile.Analyse(rec, nil), o.shares(), o.hot()
			if math.Abs(want[0]/first-1) > 0.01 {
				t.Errorf("got %.3f %% of the first layer drawn, want %.3f %%", 100*want[0], 100*first)
			}
			for l, s := range rep.Layers {
				t.Logf("layer %d: active %.3f %%, hot80 %.3f", l, 100*s.Active, *s.Hot80)
				if math.Abs(s.Active/want[l]-1) > 0.1 {
					t.Errorf("layer %d: got %.3f %% active, want %.3f %%", l, 100*s.Active, 100*want[l])
				}
				if math.Abs(*s.Hot80/hot-1) > 0.1 {
					t.Errorf("layer %d: %.1f %% give 80 %% of the activations, want %.1f %%", l, 100**s.Hot80, 100*hot)
				}
			}
			if math.Abs(rep.Mean.Active/sizes.Statistics.Active-1) > 0.05 {
				t.Errorf("got a mean of %.3f %% active, want %.3f %%", 100*rep.Mean.Active, 100*sizes.Statistics.Active)
			}
		})
	}
}
