package engine_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// profiled counts which neurons a prompt activates.
func profiled(t *testing.T, path string, ids []int32) *cache.Counts {
	t.Helper()
	var c *cache.Counts
	e := open(t, path, engine.Options{Strategy: strategy(config.Gate, 3), Observe: func(layer, tokens int, w device.Work, h []float32) {
		c.Observe(layer, tokens, w.IDs, h)
	}})
	c = cache.NewCounts(e.Profile().Layers, e.Profile().FFN)
	c.Tokens = len(ids)
	if _, err := e.Run(context.Background(), engine.Request{IDs: ids}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Law 1 for what a profile changes: the order of the pack, the shares of
// layers, what is loaded first and the policy change no logit, bit for bit, in
// any mode that is exact, and none of predicted mode either, whose sets depend
// on the input alone.
func TestExactWhateverTheProfile(t *testing.T) {
	path := small(t, convert.Options{})
	counts := profiled(t, path, prompt(smallVocab, 90))
	ids := prompt(smallVocab, 45)
	of := func(path string, o engine.Options) outcome {
		t.Helper()
		var seen activations
		o.Observe = seen.observe
		got := outcomeOf(t, open(t, path, o), ids, 8)
		got.logits += seen.sum
		return got
	}
	modes := []config.Mode{config.Dense, config.Gate, config.Predicted}
	want := map[config.Mode]outcome{}
	for _, m := range modes {
		want[m] = of(path, engine.Options{Strategy: strategy(m, 3)})
	}
	check := func(name string, mode config.Mode, got outcome) {
		t.Helper()
		if w := want[mode]; got.logits != w.logits || !slices.Equal(got.ids, w.ids) {
			t.Errorf("%s: got %x %v, want %x %v", name, got.logits, got.ids, w.logits, w.ids)
		}
	}
	for _, ordered := range []bool{false, true} {
		if ordered {
			if err := pack.Reorder(t.Context(), path, counts.Hottest, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range modes {
			for _, share := range []float64{smallestOf(t, path, engine.Options{Strategy: strategy(m, 1)}), 0.58, 3} {
				s := strategy(m, share)
				name := fmt.Sprintf("%s at %.0f%%, ordered %v", m, 100*share, ordered)
				check(name, m, of(path, engine.Options{Strategy: s}))
				check(name+", profiled", m, of(path, engine.Options{Strategy: s, Counts: counts}))
			}
		}
	}
	for _, policy := range cache.PolicyNames() {
		s := strategy(config.Predicted, 0.58)
		s.Policy = policy
		check(policy, config.Predicted, of(path, engine.Options{Strategy: s, Counts: counts}))
		s.AsyncTransfer = false
		check(policy+", synchronous", config.Predicted, of(path, engine.Options{Strategy: s, Counts: counts}))
	}
	// The oracle reads fc1 by itself: what it finds is what dense finds.
	got := of(path, engine.Options{Strategy: oracle(strategy(config.Predicted, 1.5))})
	if !slices.Equal(got.ids, want[config.Dense].ids) {
		t.Errorf("oracle on an ordered pack: got %v, want %v", got.ids, want[config.Dense].ids)
	}
}

// A profile saves reads from the first token on: the hottest neurons are there,
// and loading them is part of opening.
func TestProfileWarmsTheCache(t *testing.T) {
	path := small(t, convert.Options{})
	ids := prompt(smallVocab, 300)
	counts := profiled(t, path, ids[:200])
	of := func(c *cache.Counts, policy string) engine.Counters {
		t.Helper()
		s := strategy(config.Predicted, 0.8)
		s.Policy, s.AsyncTransfer = policy, false
		var loaded, total int64
		var place *placement.Placement
		e := open(t, path, engine.Options{Strategy: s, Counts: c,
			Planned:  func(p *placement.Placement) { place = p },
			Progress: func(d, all int64) { loaded, total = d, all }})
		if loaded != total || (loaded > place.LoadBytes) != (c != nil) {
			t.Errorf("loaded %d of %d bytes, of which %d are no neurons, profile %v", loaded, total, place.LoadBytes, c != nil)
		}
		res, err := e.Run(context.Background(), engine.Request{IDs: ids[200:201], Force: ids[201:], MaxTokens: 99, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		return res.Stats.Decoding
	}
	for _, policy := range []string{"lfu", "frozen"} {
		cold, warm := of(nil, policy), of(counts, policy)
		if cold.Wanted != warm.Wanted || float64(warm.Misses) > 0.9*float64(cold.Misses) {
			t.Errorf("%s: got %d misses of %d with a profile, want at least a tenth fewer than the %d of %d without", policy, warm.Misses, warm.Wanted, cold.Misses, cold.Wanted)
		}
	}
}

// What a trace says the cache misses is what the engine missed.
func TestTraceReplaysTheEngine(t *testing.T) {
	path := tinyPack(t)
	ids := prompt(4096, 200)
	if testing.Short() {
		ids = ids[:100]
	}
	for _, policy := range []string{"lfu", "lru"} {
		s := strategy(config.Predicted, 0.58)
		s.Policy, s.AsyncTransfer = policy, false
		var rec *trace.Recorder
		e := open(t, path, engine.Options{Strategy: s, Wanted: func(layer int, ids []int32) { rec.Want(layer, ids) }})
		file := filepath.Join(t.TempDir(), "tiny.trace")
		var err error
		if rec, err = trace.Create(file, trace.InfoOf(e.Pack(), "tiny", "random tokens")); err != nil {
			t.Fatal(err)
		}
		res, err := e.Run(context.Background(), engine.Request{IDs: ids[:1], Force: ids[1:], MaxTokens: len(ids) - 1, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		tr, err := trace.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if tr.Steps() != len(ids)-2 { // the first comes out of the prompt, the last is not computed
			t.Errorf("got %d steps, want %d", tr.Steps(), len(ids)-2)
		}
		missed, wanted := 0, 0
		for l := range tr.Sets {
			make, err := cache.PolicyByName(policy, tr.FFN, nil)
			if err != nil {
				t.Fatal(err)
			}
			missed += tr.Sets[l].Misses(tr.FFN, e.Placement().Slots[l], nil, make, nil)
			wanted += tr.Sets[l].Wanted()
		}
		// The prompt's token has filled slots before, and the layer that is
		// audited in one step of 64 goes uncounted and unseen by the policy.
		got := res.Stats.Decoding
		near := func(a int, b int64) bool { return math.Abs(float64(a)-float64(b)) < 0.01*float64(b) }
		if !near(wanted, got.Wanted) || !near(missed, got.Misses) {
			t.Errorf("%s: the trace says %d of %d missed, the engine %d of %d", policy, missed, wanted, got.Misses, got.Wanted)
		}
	}
}
