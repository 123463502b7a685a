package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// A calibration that promises more than it holds: the user is told of the layers'
// errors, and the same request gets the same tokens all the same.
func TestDriftIsTold(t *testing.T) {
	c := calibrated(2, 256, 1, 0, 1e-3, 1e6) // nothing is worth computing
	for range c.Layers {
		c.Points[0].Layers = append(c.Points[0].Layers, predict.LayerPoint{MLPError: 0.05})
	}
	path := drawn(t, synth.Sizes{Hidden: 64, Layers: 2, Heads: 2, FFN: 256, Vocab: 300, Context: 512}, convert.Options{})
	var mu sync.Mutex
	var notices []string
	e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 3), Calibration: c, Notify: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, s)
	}})
	var first *engine.Result
	for range 3 {
		res, err := e.Run(context.Background(), engine.Request{IDs: prompt(300, 20), MaxTokens: 400, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = res
		}
		if !slices.Equal(res.IDs, first.IDs) || res.Stats.Computed != 0 {
			t.Fatalf("got %v with %d neurons computed, want %v as at first, without any", res.IDs, res.Stats.Computed, first.IDs)
		}
		got, ok := res.Stats.OutputError()
		was, calibrated := res.Stats.CalibratedError()
		if !ok || !calibrated || got < 0.5 || was < 0.049 || was > 0.051 {
			t.Errorf("got an output error of %v, %v calibrated, want nearly all and 0.05", got, was)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(notices) < 1 || len(notices) > 2 || !strings.Contains(notices[0], "on the calibration's text it was 5 %") {
		t.Errorf("got notices %q, want one for each layer that adds much", notices)
	}
}
