package engine_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
)

// gated packs a small model of gated neurons, a tenth of which are active.
func gated(t *testing.T, act config.Activation, threshold float32, o convert.Options) string {
	t.Helper()
	return drawn(t, synth.Sizes{Hidden: 64, Layers: smallLayers, Heads: 2, FFN: smallFFN, Vocab: smallVocab, Context: 512,
		Gate: act, Threshold: threshold, Statistics: synth.Statistics{Active: 0.1}}, o)
}

// gates are the activations of gates that give exact zeros.
func gates(f func(act config.Activation, threshold float32)) {
	f(config.ReLU, 0)
	f(config.FATReLU, 0.01)
	f(config.DReLU, 0)
}

// Law 1 for gated neurons.
func TestGatedExactWhateverThePlacement(t *testing.T) {
	gates(func(act config.Activation, threshold float32) {
		for _, quant := range []convert.Quant{convert.F16, convert.Q8_0} {
			if testing.Short() && (act == config.DReLU) != (quant == convert.Q8_0) {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", act, quant), func(t *testing.T) {
				checkVariants(t, gated(t, act, threshold, convert.Options{MLP: quant, Attn: quant}))
			})
		}
	})
}

// The oracle finds every active gate, so that its outcome is the gate mode's, at
// every budget, and prompts are as decoding in every mode.
func TestGatedModes(t *testing.T) {
	gates(func(act config.Activation, threshold float32) {
		t.Run(string(act), func(t *testing.T) {
			path := gated(t, act, threshold, convert.Options{MLP: convert.Q8_0})
			want := outcomeOf(t, open(t, path, engine.Options{Strategy: strategy(config.Dense, 1)}), prompt(smallVocab, 40), 8)
			for _, s := range []config.OffloadStrategy{strategy(config.Gate, 1), oracle(strategy(config.Predicted, 1)), oracle(strategy(config.Predicted, 0.8))} {
				e := open(t, path, engine.Options{Strategy: s})
				got := outcomeOf(t, e, prompt(smallVocab, 40), 8)
				if got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
					t.Errorf("%s %s at %v: got %x %v, want %x %v", s.Mode, s.Predictor, s.Budget.Share, got.logits, got.ids, want.logits, want.ids)
				}
				if got.stats.Active*100 < got.stats.Computed && s.Predictor == "oracle" {
					t.Errorf("%v: oracle: got %d active of %d computed", act, got.stats.Active, got.stats.Computed)
				}
			}
			e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 0.8)})
			ids := prompt(smallVocab, 20)
			res, err := e.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 30, IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			all := append(slices.Clone(ids), res.IDs...)
			for n := len(ids); n < len(all); n += 7 {
				next, err := e.Run(context.Background(), engine.Request{IDs: all[:n], MaxTokens: 1, IgnoreEOS: true})
				if err != nil {
					t.Fatal(err)
				}
				if next.IDs[0] != all[n] {
					t.Errorf("token %d: got %d after a prompt, %d after decoding", n, next.IDs[0], all[n])
				}
			}
		})
	})
}

// The reference's values for a gated model, in every mode, with all in memory, half,
// and the least that the mode runs in.
func TestGatedGolden(t *testing.T) {
	const name = "families/llama-relu"
	g := readGolden(t, goldenDir+name+"/golden.json")
	path := packOf(t, checkpoints(t)[name], name)
	all := strategy(config.Predicted, 1)
	all.Predictor = "all"
	for mode, s := range map[string]config.OffloadStrategy{
		"dense": strategy(config.Dense, 1), "gate": strategy(config.Gate, 1), "oracle": oracle(strategy(config.Predicted, 1)), "all": all,
	} {
		least := smallestOf(t, path, engine.Options{Strategy: s})
		for _, share := range []float64{1, max(0.5, least), least} {
			s.Budget.Share = share
			t.Run(fmt.Sprintf("%s at %.0f%%", mode, 100*share), func(t *testing.T) {
				active := &activeSets{layer: -1, sets: map[int][]int32{}}
				checkGolden(t, g, open(t, path, engine.Options{Strategy: s, Observe: active.observe}), active)
			})
		}
	}
}

// Under a budget the gate mode keeps gates in fast memory and reads what they open,
// where that is less than all; with all in memory, or too little, it does not.
func TestGatesInMemory(t *testing.T) {
	path := gated(t, config.ReLU, 0, convert.Options{})
	var want outcome
	for i, c := range []struct {
		share float64
		gates bool
	}{{3, false}, {0.8, true}, {smallest(t, path), false}} {
		s := strategy(config.Gate, c.share)
		e := open(t, path, engine.Options{Strategy: s})
		place := e.Placement()
		if place.Gates != c.gates || place.Mode != config.Gate {
			t.Errorf("at %v: got gates in memory %v in mode %s, want %v in gate", c.share, place.Gates, place.Mode, c.gates)
		}
		got := outcomeOf(t, e, prompt(smallVocab, 40), 8)
		if i == 0 {
			want = got
		}
		if got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
			t.Errorf("at %v: got %x %v, want %x %v", c.share, got.logits, got.ids, want.logits, want.ids)
		}
		if c.gates && got.stats.Active != got.stats.Computed {
			t.Errorf("at %v: got %d computed, want the %d active", c.share, got.stats.Computed, got.stats.Active)
		}
	}
}
