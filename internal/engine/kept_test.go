package engine_test

import (
	"context"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// A text that goes on from the one before computes only what is new, and has the
// bits of one computed at once: whatever the mode, wherever the two part, and
// however the one before ended.
func TestKeptText(t *testing.T) {
	paths := map[config.Mode]string{}
	for _, mode := range []config.Mode{config.Dense, config.Gate, config.Predicted} {
		paths[mode] = small(t, convert.Options{})
	}
	windowed := map[string]bool{}
	for _, name := range []string{"families/gemma3", "families/mistral-window"} {
		windowed[name], paths[config.Mode(name)] = true, packOf(t, longer(t, name), name)
	}
	for name, path := range paths {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			mode := name
			if windowed[string(name)] {
				mode = config.Dense
			}
			o := engine.Options{Strategy: config.DefaultStrategy(), KeepText: true}
			o.Strategy.Mode, o.Strategy.Context = mode, 448 // seven pages
			e, fresh := open(t, path, o), open(t, path, o)
			vocab := e.Profile().VocabSize
			ask := func(e *engine.Engine, ids []int32, n int, r engine.Request) *engine.Result {
				r.IDs, r.MaxTokens, r.IgnoreEOS = ids, n, true
				r.Sampling = sample.Params{Temperature: 1, Seed: 5, RepetitionPenalty: 1.2}
				res, err := e.Run(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			same := func(what string, ids []int32, n, reused int) []int32 {
				t.Helper()
				got := ask(e, ids, n, engine.Request{})
				ask(fresh, []int32{int32(vocab - 1)}, 1, engine.Request{}) // of which nothing can be used
				want := ask(fresh, ids, n, engine.Request{})
				if !slices.Equal(got.IDs, want.IDs) {
					t.Errorf("%s: got %v, want %v", what, got.IDs, want.IDs)
				}
				if got.Stats.Reused != reused && !(windowed[string(name)] && got.Stats.Reused == 0) || want.Stats.Reused != 0 {
					t.Errorf("%s: got %d tokens of before used (and %d), want %d (and 0)", what, got.Stats.Reused, want.Stats.Reused, reused)
				}
				return slices.Concat(ids, got.IDs)
			}
			text := same("first", prompt(vocab-1, 70), 30, 0)
			// The newest token was not computed any more.
			text = same("goes on", slices.Concat(text, prompt(vocab-1, 9)), 40, len(text)-1)
			same("again", text, 8, len(text)-1)
			same("parts", append(slices.Clone(text[:66]), 1, 2, 3), 50, 66)
			same("within", text[:40], 20, 39)
			same("other", prompt(vocab-1, 300), 20, 0)
			// An answer that is broken off leaves what was computed.
			n := 0
			cut := ask(e, text, 90, engine.Request{Token: func(int32) bool { n++; return n < 7 }})
			if len(cut.IDs) != 7 {
				t.Fatalf("got %d tokens of an answer that ends after 7", len(cut.IDs))
			}
			text = slices.Concat(text, cut.IDs)
			after := ask(e, append(slices.Clone(text), 4), 9, engine.Request{})
			if want := ask(fresh, append(slices.Clone(text), 4), 9, engine.Request{}); !slices.Equal(after.IDs, want.IDs) || after.Stats.Reused < len(text)-1 && !windowed[string(name)] {
				t.Errorf("after a broken answer: got %v with %d of %d used, want %v", after.IDs, after.Stats.Reused, len(text), want.IDs)
			}
			// Who wants all logits gets them.
			if got, want := outcomeOf(t, e, text, 5), outcomeOf(t, fresh, text, 5); got.logits != want.logits || got.stats.Reused != 0 {
				t.Errorf("scored: got other logits, or %d tokens used", got.stats.Reused)
			}
			// What is kept gives way to who needs the room.
			long := prompt(vocab-1, 440)
			same("long", long, 8, 0)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := e.Run(ctx, engine.Request{IDs: long, MaxTokens: 3}); err == nil {
				t.Error("got no error of a request that is over")
			}
			same("other long", prompt(vocab-1, 441), 7, 0)
		})
	}
}
