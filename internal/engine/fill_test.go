package engine_test

import (
	"context"
	"syscall"
	"testing"
	"time"

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
