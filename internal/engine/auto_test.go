package engine_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// choices keeps what auto learns.
type choices map[string]engine.Choice

func (c choices) auto() *engine.Auto {
	return &engine.Auto{
		Known:   func(key string) (engine.Choice, bool) { v, ok := c[key]; return v, ok },
		Learned: func(key string, v engine.Choice) { c[key] = v },
	}
}

// Auto measures once for a placement, in about a second, and keeps to what it
// chose; with each layer exact the tokens are those of dense.
func TestAuto(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	req := engine.Request{IDs: prompt(4096, 20), MaxTokens: 20, IgnoreEOS: true}
	run := func(e *engine.Engine) []int32 {
		t.Helper()
		res, err := e.Run(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		return res.IDs
	}
	exact := run(open(t, path, engine.Options{Strategy: strategy(config.Dense, 3)}))
	for _, share := range []float64{0.58, 3} {
		known := choices{}
		begin := time.Now()
		e := open(t, path, engine.Options{Strategy: strategy(config.Auto, share), Auto: known.auto()})
		// The measurement itself is bounded by measureTime; the rest is what
		// else runs on the machine.
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("at %v: opening took %v", share, took)
		}
		if len(known) != 1 || e.Choice() == nil || e.Choice().Measured == 0 {
			t.Fatalf("at %v: got %+v and choices %+v, want one that was measured", share, e.Choice(), known)
		}
		want := run(e)
		// What is known is not measured again.
		again := known.auto()
		again.Learned = func(key string, c engine.Choice) { t.Errorf("measured again: %s", key) }
		if got := run(open(t, path, engine.Options{Strategy: strategy(config.Auto, share), Auto: again})); !slices.Equal(got, want) {
			t.Errorf("at %v: got %v, want %v as before", share, got, want)
		}
		for key := range known {
			for _, modes := range []string{"gggggg", "dddddd", "gdgdgd"} {
				e := open(t, path, engine.Options{Strategy: strategy(config.Auto, share), Auto: choices{key: {Modes: modes}}.auto()})
				if got := run(e); !slices.Equal(got, exact) || !e.Choice().Exact() {
					t.Errorf("at %v, modes %s: got %v, want dense's %v", share, modes, got, exact)
				}
			}
			// A choice of another model is none.
			bad := choices{key: {Modes: "pp"}}
			if e := open(t, path, engine.Options{Strategy: strategy(config.Auto, share), Auto: bad.auto()}); len(e.Choice().Modes) != 6 {
				t.Errorf("took over the choice %+v", e.Choice())
			}
		}
	}
}

// With prompts exact, a prompt's logits are those of dense to the bit, and
// decoding is predicted as before.
func TestAutoPrompts(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	run := func(o engine.Options) (logits []float32, predicted bool) {
		t.Helper()
		o.Wanted = func(_ int, ids []int32) { predicted = predicted || len(ids) < 1024 }
		e := open(t, path, o)
		const n = 40
		_, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, n), MaxTokens: 3, IgnoreEOS: true, Logits: func(at int, l []float32) {
			if at < n {
				logits = append(logits, l...)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		return logits, predicted
	}
	exact, _ := run(engine.Options{Strategy: strategy(config.Dense, 3)})
	for _, share := range []float64{0.58, 3} {
		known := choices{}
		open(t, path, engine.Options{Strategy: strategy(config.Auto, share), Auto: known.auto()})
		for key, c := range known {
			if c.Prompts != "" && c.Prompts != "g" && c.Prompts != "d" {
				t.Errorf("at %v: got prompts %q", share, c.Prompts)
			}
			if share < 1 && c.Prompts != "" {
				t.Errorf("at %v: got prompts %q, want none that read all that has no slot", share, c.Prompts)
			}
			for _, prompts := range []string{"g", "d", "", "x"} {
				o := engine.Options{Strategy: strategy(config.Auto, share), Auto: choices{key: {Modes: "pppppp", Prompts: prompts}}.auto()}
				if prompts == "x" {
					o.Auto.Learned = func(_ string, c engine.Choice) {
						if c.Prompts == "x" {
							t.Error("took over what is no mode")
						}
						prompts = "measured anew"
					}
				}
				got, predicted := run(o)
				switch same := slices.Equal(got, exact); prompts {
				case "g", "d":
					if !same || !predicted {
						t.Errorf("at %v, prompts %s: got dense's logits: %v, decoding predicted: %v, want both", share, prompts, same, predicted)
					}
				case "":
					if same {
						t.Errorf("at %v: got dense's logits from predicted prompts: this tests nothing", share)
					}
				case "x":
					t.Errorf("at %v: took over a choice of prompts %q", share, prompts)
				}
			}
		}
	}
}

// Where a budget holds all weights or else predictors, auto compares both and
// remembers which it was; the plan says the same.
func TestAutoWithoutPredictors(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	s := strategy(config.Auto, 1)
	known := choices{}
	open(t, path, engine.Options{Strategy: s, Auto: known.auto()})
	key := ""
	for k := range known {
		if strings.Contains(k, "without predictors") {
			key = k
		}
	}
	if key == "" {
		t.Fatalf("got choices %+v, want one between predictors and all weights", known)
	}
	for modes, mode := range map[string]config.Mode{"gggggg": config.Gate, "pppppp": config.Predicted} {
		known[key] = engine.Choice{Modes: modes, Predicted: 1, Gate: 1}
		e := open(t, path, engine.Options{Strategy: s, Auto: known.auto()})
		if p := e.Placement(); p.Mode != mode || !p.Auto || mode == config.Gate && p.Token.SlowBytes > 0 {
			t.Errorf("%s: got mode %s, %d bytes from the pack", modes, p.Mode, p.Token.SlowBytes)
		}
		if e.Choice() == nil {
			t.Errorf("%s: got no choice to show", modes)
		}
	}
}

// A calibration that promises more than it holds: at first the layers lower
// their thresholds, then they turn exact, and say so.
func TestRecallFloor(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	c := calibrated(1, 0, 1e-3, 1e6) // nothing is worth computing
	for range c.Layers {
		c.Points[0].Layers = append(c.Points[0].Layers, predict.LayerPoint{RecallWeighted: 0.99})
	}
	var mu sync.Mutex
	var notices []string
	e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 3), Calibration: c, Notify: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, s)
	}})
	var last engine.Stats
	for range 8 {
		res, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, 20), MaxTokens: 450, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if last = res.Stats; math.IsNaN(last.TokensPerSecond()) {
			t.Fatal("no speed")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(notices, "\n")
	if !strings.Contains(all, "its threshold is lowered") || !strings.Contains(all, "turns exact") {
		t.Errorf("got notices %q, want thresholds lowered, then layers exact", all)
	}
	if last.ComputedShare() < 0.5 {
		t.Errorf("got %.3f of the neurons computed in the end, want most: layers that fire are exact", last.ComputedShare())
	}
}

// A choice says what decoding and, where that is another, what prompts do.
func TestChoiceSummary(t *testing.T) {
	for want, c := range map[string]engine.Choice{
		"predicted":                             {Modes: "ppp"},
		"predicted (prompts: gate)":             {Modes: "ppp", Prompts: "g"},
		"2 predicted, 1 dense (prompts: dense)": {Modes: "pdp", Prompts: "d"},
	} {
		if got := c.Summary(); got != want || c.String() != want {
			t.Errorf("got %q and %q, want %q", got, c, want)
		}
	}
}
