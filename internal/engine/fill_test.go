package engine_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
)

// missed is the neurons that decoding a few tokens missed.
func missed(t *testing.T, e *engine.Engine) int64 {
	t.Helper()
	res, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, 9), MaxTokens: 8, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	return res.Stats.Misses
}

// Slots fill without a request, and no result depends on it.
func TestFill(t *testing.T) {
	path := tinyPack(t)
	for _, mode := range []config.Mode{config.Predicted, config.Gate} {
		for _, share := range []float64{0.58, 3} {
			o := engine.Options{Strategy: strategy(mode, share)}
			want := outcomeOf(t, open(t, path, o), prompt(4096, 45), 8)
			o.Fill = true
			if got := outcomeOf(t, open(t, path, o), prompt(4096, 45), 8); got.logits != want.logits {
				t.Errorf("%s at %v: got %x, want %x as without filling", mode, share, got.logits, want.logits)
			}
			if share < 1 {
				continue
			}
			for wait := 10 * time.Millisecond; ; wait *= 4 {
				e := open(t, path, o)
				time.Sleep(wait)
				if missed(t, e) == 0 {
					break
				}
				if wait > 10*time.Second {
					t.Fatalf("%s: got misses in the first request after %v, want all slots filled", mode, wait)
				}
			}
		}
	}
}

// Slots for experts fill without a request, those that were wanted most often first, and
// no result depends on it.
func TestFillExperts(t *testing.T) {
	dir, cached := mixture(t), t.TempDir()
	ids := prompt(300, 9)
	var counts *cache.Counts
	run := func(wait time.Duration, ratio float64, o engine.Options) outcome {
		t.Helper()
		o.Strategy = strategy(config.Dense, 3)
		o.Strategy.Budget, o.Strategy.GPUCacheRatio = config.Budget{}, config.Ratio(ratio)
		e := openMixture(t, dir, cached, o)
		time.Sleep(wait)
		got := outcomeOf(t, e, ids, 40)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		return got
	}
	empty := run(0, 0.25, engine.Options{Used: func(c *cache.Counts) { counts = c }})
	if counts == nil || counts.Tokens != 39 {
		t.Fatalf("got counts %+v, want those of the 39 tokens after the first", counts)
	}
	for wait := 20 * time.Millisecond; ; wait *= 4 {
		full := run(wait, 1, engine.Options{Fill: true})
		any, hot := run(wait, 0.25, engine.Options{Fill: true}), run(wait, 0.25, engine.Options{Fill: true, Counts: counts})
		for _, got := range []outcome{full, any, hot} {
			if got.logits != empty.logits {
				t.Errorf("got %x, want %x as without filling", got.logits, empty.logits)
			}
		}
		if full.stats.Misses == 0 && hot.stats.Misses < any.stats.Misses {
			break
		}
		if wait > 5*time.Second {
			t.Fatalf("after %v: got %d misses with slots for all, and with slots for a fourth %d, or %d for the hottest, want none and fewer for the hottest", wait, full.stats.Misses, any.stats.Misses, hot.stats.Misses)
		}
	}
}

// What cannot be filled is read when it is wanted, which then tells why, and is
// read once the disk is well again.
func TestFillFails(t *testing.T) {
	path := tinyPack(t)
	p, f := openDirect(t, path)
	h := &heldFile{File: f, released: make(chan struct{}), err: syscall.EIO}
	close(h.released)
	last := p.Profile().Layers - 1
	h.holds(p.BundleOffset(last, 0), int64(p.Profile().FFN)*p.BundleStride())
	e, err := engine.Open(t.Context(), p, engine.Options{Strategy: strategy(config.Gate, 3), File: h, Fill: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	time.Sleep(50 * time.Millisecond)
	req := engine.Request{IDs: prompt(4096, 9), MaxTokens: 2, IgnoreEOS: true}
	if _, err := e.Run(t.Context(), req); err == nil {
		t.Error("got no error, want that of the disk")
	}
	h.holds(0, 0)
	if _, err := e.Run(t.Context(), req); err != nil {
		t.Errorf("the disk is well: got %v", err)
	}
}
