package engine_test

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/weights"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// The load-only probe loads the bytes that the counters say were multiplied,
// and the predictors.
func TestLoadIsWhatWasMultiplied(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	for name, s := range map[string]config.OffloadStrategy{
		"dense":     strategy(config.Dense, 3),
		"gate":      strategy(config.Gate, 3),
		"predicted": strategy(config.Predicted, 3),
		"58%":       strategy(config.Predicted, 0.58),
	} {
		t.Run(name, func(t *testing.T) {
			var touched []engine.Touched
			e := open(t, path, engine.Options{Strategy: s, Observe: func(layer, tokens int, w device.Work, h []float32) {
				touched = append(touched, engine.NewTouched(layer, tokens, w, h))
			}})
			// The prompt's token and one decoded one.
			res, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, 1), MaxTokens: 2, IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			second := len(touched)
			for i := second - 1; i > 0 && second == len(touched); i-- {
				if touched[i].Layer < touched[i-1].Layer {
					second = i
				}
			}
			if e.Placement().Streamed > 0 {
				t.Fatal("got matrices that stream, which are not loaded")
			}
			got, took := e.Load(touched[second:])
			want := res.Stats.Decoding.FastBytes
			if s.Mode == config.Predicted {
				p := e.Profile()
				want += p.Neurons() * int64(pack.SketchBytes(p.HiddenSize))
			}
			if got != want || took <= 0 {
				t.Errorf("got %d bytes in %v, want %d", got, took, want)
			}
		})
	}
}

// Computing from a mapping of the pack gives the bits that computing from
// memory gives, and takes no memory of the engine's for weights.
func TestMapping(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	ids := prompt(4096, 40)
	logits := func(f weights.File) (all []float32, slow int64) {
		e := open(t, path, engine.Options{Strategy: strategy(config.Dense, 3), File: f})
		res, err := e.Run(context.Background(), engine.Request{IDs: ids, Logits: func(_ int, l []float32) { all = append(all, l...) }})
		if err != nil {
			t.Fatal(err)
		}
		return all, res.Stats.SlowBytes
	}
	m, err := weights.OpenMapping(path)
	if err != nil && runtime.GOOS != "linux" {
		t.Skip(err) // not every system has mappings
	}
	if err != nil {
		t.Fatal(err)
	}
	want, _ := logits(nil)
	got, _ := logits(m)
	if !slices.Equal(got, want) {
		t.Error("got other logits from a mapping than from memory")
	}
}

// A ring larger than the planned one is on top of the budget, and changes
// nothing about what stays.
func TestRingSlots(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	s := strategy(config.Dense, 0.58)
	s.AsyncTransfer = false
	plain := open(t, path, engine.Options{Strategy: s})
	large := open(t, path, engine.Options{Strategy: s, RingSlots: 2048})
	a, b := plain.Placement(), large.Placement()
	if !slices.Equal(a.Slots, b.Slots) || b.RingSlots != 2048 || b.MemoryBytes-a.MemoryBytes != int64(2048-a.RingSlots)*plain.Pack().BundleStride() {
		t.Errorf("got slots %v, ring %d, %d bytes; want %v, 2048, and the ring's bytes above %d", b.Slots, b.RingSlots, b.MemoryBytes, a.Slots, a.MemoryBytes)
	}
	var ids [2][]int32
	for i, e := range []*engine.Engine{plain, large} {
		res, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, 20), MaxTokens: 10, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = res.IDs
	}
	if !slices.Equal(ids[0], ids[1]) {
		t.Errorf("got tokens %v with a large ring, %v without", ids[1], ids[0])
	}
}
