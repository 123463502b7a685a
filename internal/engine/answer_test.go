package engine_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// answer is what a user sees of three requests: the likeliest tokens after a
// prompt, drawn ones, and all logits of the prompt and of what followed it.
// Generating goes on over more than the steps between two samples of a layer.
type answer struct {
	greedy, drawn []int32
	logits        uint64
}

func (a answer) equal(b answer) bool {
	return slices.Equal(a.greedy, b.greedy) && slices.Equal(a.drawn, b.drawn) && a.logits == b.logits
}

func answerOf(t *testing.T, e *engine.Engine) answer {
	t.Helper()
	ids := prompt(e.Profile().VocabSize, 11)
	greedy := outcomeWith(t, e, engine.Request{IDs: ids, MaxTokens: 70, IgnoreEOS: true})
	drawn := outcomeWith(t, e, engine.Request{IDs: ids, MaxTokens: 20, IgnoreEOS: true, Sampling: sample.Params{Temperature: 1, Seed: 3}})
	return answer{greedy.ids, drawn.ids, outcomeOf(t, e, slices.Concat(ids, greedy.ids), 0).logits}
}

// others sends n requests of all kinds, two at a time.
func others(t *testing.T, e *engine.Engine, n int) {
	vocab := e.Profile().VocabSize
	kinds := []func(i int) error{
		func(i int) error {
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 1+i), MaxTokens: 9, Sampling: sample.Params{Temperature: 2, Seed: uint64(i)}})
			return err
		},
		func(i int) error {
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 2+i), Logits: func(int, []float32) {}})
			return err
		},
		func(i int) error {
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 20), Audit: model.NewAudit(e.Profile().Layers)})
			return err
		},
		func(i int) error {
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 20), Exact: true})
			return err
		},
		func(i int) error { // a long prompt
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 90), MaxTokens: 1})
			return err
		},
		func(i int) error {
			ids := prompt(vocab, 30+i)
			_, err := e.Run(t.Context(), engine.Request{IDs: ids[:5], Force: ids[5:], MaxTokens: 12, IgnoreEOS: true})
			return err
		},
		func(i int) error { // given up by its caller
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := e.Run(ctx, engine.Request{IDs: prompt(vocab, 9), MaxTokens: 90, IgnoreEOS: true, Token: func(int32) bool {
				cancel()
				return true
			}})
			if errors.Is(err, context.Canceled) { // it may have been done before
				return nil
			}
			return err
		},
		func(i int) error { // ended by its caller
			_, err := e.Run(t.Context(), engine.Request{IDs: prompt(vocab, 40), MaxTokens: 30, Token: func(int32) bool { return false }})
			return err
		},
	}
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Go(func() {
			for i := half; i < n; i += 2 {
				if err := kinds[i%len(kinds)](i); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// checkAnswers sees that an engine gives an answer at first, after many other
// requests, and in a batch with others.
func checkAnswers(t *testing.T, name string, want answer, path string, o engine.Options, n int) {
	t.Helper()
	e := open(t, path, o)
	check := func(when string) {
		t.Helper()
		if got := answerOf(t, e); !got.equal(want) {
			t.Errorf("%s, %s: got %v, want %v", name, when, got, want)
		}
	}
	check("at first")
	others(t, e, n)
	check("after other requests")
	var wg sync.WaitGroup
	wg.Go(func() { others(t, e, n/5) })
	wg.Go(func() { others(t, e, n/5) })
	check("in a batch")
	wg.Wait()
}

// underLoad keeps all processors busy while f runs.
func underLoad(f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
			}
		})
	}
	f()
	cancel()
	wg.Wait()
}

// Law 1: what a request gets depends on the model, its sidecar, the strategy's
// computation and the request alone: not on what ran before or runs beside it,
// on the budget, on a cache that a profile has filled, or on how busy the machine
// was when the model was opened.
func TestSameRequestSameAnswer(t *testing.T) {
	path := drawn(t, synth.Sizes{Hidden: 64, Layers: 4, Heads: 2, FFN: 256, Vocab: 300, Context: 128}, convert.Options{})
	counts := profiled(t, path, prompt(300, 60))
	before := 50
	if testing.Short() { // two of each kind
		before = 16
	}
	seen := map[string]answer{}
	for name, o := range map[string]engine.Options{
		"dense":                 {Strategy: strategy(config.Dense, 0)},
		"gate":                  {Strategy: strategy(config.Gate, 0)},
		"predicted":             {Strategy: strategy(config.Predicted, 0), Multiple: 1}, // twice would miss nothing
		"predicted, calibrated": {Strategy: strategy(config.Predicted, 0), Calibration: partlyCalibrated()},
		"auto":                  {Strategy: strategy(config.Auto, 0)},
		"auto, calibrated":      {Strategy: strategy(config.Auto, 0), Calibration: partlyCalibrated()},
	} {
		of := func(share float64) engine.Options {
			o := o
			o.Strategy.Budget.Share = share
			return o
		}
		want := answerOf(t, open(t, path, of(3)))
		seen[name] = want
		if testing.Short() && (name == "auto" || name == "predicted, calibrated") {
			continue // see the pairs below
		}
		least := smallestOf(t, path, of(1))
		for at, share := range map[string]float64{"100 %": 1.5, "58 %": 0.58, "the smallest budget": least} {
			if testing.Short() && share != least && o.Calibration == nil {
				continue // calibrated, there are layers of every kind
			}
			checkAnswers(t, name+" at "+at, want, path, of(share), before)
		}
		if name != "auto, calibrated" || testing.Short() { // which has layers of every kind
			continue
		}
		used := of(0.58)
		used.Counts, used.Early = counts, true
		underLoad(func() { checkAnswers(t, name+", profiled, opened early under load", want, path, used, 10) })
	}
	for _, pair := range [][2]string{{"gate", "dense"}, {"auto", "gate"}, {"auto, calibrated", "predicted, calibrated"}} {
		if !seen[pair[0]].equal(seen[pair[1]]) {
			t.Errorf("got %v in mode %s, want %v as in mode %s", seen[pair[0]], pair[0], seen[pair[1]], pair[1])
		}
	}
	if seen["predicted"].logits == seen["gate"].logits || seen["predicted, calibrated"].logits == seen["predicted"].logits {
		t.Error("got the logits of another mode from predicted mode: this tests nothing")
	}
}

// partlyCalibrated is a calibration of a model of 4 layers and 256 neurons that
// has a layer of each kind: calibrated, partly silent, silent, and left to the
// gate.
func partlyCalibrated() *predict.Calibration {
	c := &predict.Calibration{Floor: predict.FloorPerplexity, Layers: make([]predict.LayerCalibration, 4), Points: []predict.Point{{MinEnergy: 0.02}}}
	for l := range c.Layers {
		all := func(v float32) []float32 { return slices.Repeat([]float32{v}, 256) }
		c.Layers[l] = predict.LayerCalibration{Slope: all(1), Offset: all(0), Sigma: all(0.1), Norm: all(1), Silent: make([]bool, 256)}
		for i := range c.Layers[l].Silent {
			c.Layers[l].Silent[i] = l == 1 && i%3 == 0 || l == 2
		}
	}
	c.Layers[3].Kind = predict.KindGate
	return c
}

// The same of real weights with the sidecar that comes with them.
func TestSameAnswerOfTiny(t *testing.T) {
	if testing.Short() {
		t.Skip("the small model has all modes")
	}
	path := tinyPack(t)
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	source := p.SourceSHA256()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	side, err := sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", source)
	if err != nil {
		t.Fatal(err)
	}
	section, _ := side.Section(predict.CalibrationSection)
	c, err := predict.ReadCalibration(section, 6, 256, 1024)
	if err != nil {
		t.Fatal(err)
	}
	section, _ = side.Section(cache.CountsSection)
	counts, err := cache.ReadCounts(section, 6, 1024)
	if err != nil {
		t.Fatal(err)
	}
	of := func(share float64) engine.Options {
		s := strategy(config.Auto, share)
		s.Context = 256
		return engine.Options{Strategy: s, Calibration: c, Counts: counts}
	}
	want := answerOf(t, open(t, path, of(3)))
	for at, share := range map[string]float64{"100 %": 1, "58 %": 0.58, "the smallest budget": smallestOf(t, path, of(1))} {
		checkAnswers(t, at, want, path, of(share), 50)
	}
}
