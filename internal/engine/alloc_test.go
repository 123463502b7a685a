package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
)

// A token more costs one allocation, whatever the mode, where all weights are
// resident, and wherever experts are: what os.File.Stat returns, by which each step sees that the pack is
// still the one that was opened. All else is a request's own.
func TestNoAllocationPerToken(t *testing.T) {
	path := small(t, convert.Options{})
	for _, mode := range []config.Mode{config.Dense, config.Gate, config.Predicted} {
		t.Run(string(mode), func(t *testing.T) { checkAllocations(t, open(t, path, engine.Options{Strategy: strategy(mode, 3)})) })
	}
	dir, cache := mixture(t), t.TempDir()
	for _, share := range []float64{3, 0.4} {
		t.Run(fmt.Sprintf("experts, %.0f%%", 100*share), func(t *testing.T) {
			checkAllocations(t, openMixture(t, dir, cache, engine.Options{Strategy: strategy(config.Auto, share)}))
		})
	}
}

func checkAllocations(t *testing.T, e *engine.Engine) {
	run := func(tokens int) {
		req := engine.Request{IDs: prompt(smallVocab, 20), MaxTokens: tokens, IgnoreEOS: true}
		if _, err := e.Run(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
	// Slots fill as neurons are wanted, and when a layer's recall is measured.
	for range 3 {
		run(200)
	}
	const short, long, slack = 10, 60, 5 // slack: of the runtime
	few := testing.AllocsPerRun(2, func() { run(short) })
	if many := testing.AllocsPerRun(2, func() { run(long) }); many > few+(long-short)+slack {
		t.Errorf("got %v allocations for %d tokens and %v for %d, want one a token", many, long, few, short)
	}
}
