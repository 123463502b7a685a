package transfer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

func drawSetup(t *rapid.T) setup {
	slots := rapid.SampledFrom([]int{0, 1, 5, 12, testFFN - 1, testFFN})
	return setup{
		slots:     []int{slots.Draw(t, "slots"), slots.Draw(t, "slots")},
		ring:      rapid.SampledFrom([]int{2, 3, 6, 2 * testFFN}).Draw(t, "ring"),
		hidden:    rapid.SampledFrom([]int{mostTokens, 3 * mostTokens, testFFN * mostTokens}).Draw(t, "hidden"),
		workers:   rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "workers"),
		beside:    rapid.Bool().Draw(t, "beside"),
		stubborn:  rapid.IntRange(0, 3).Draw(t, "stubborn") == 0,
		separate:  rapid.Bool().Draw(t, "separate"),
		gap:       rapid.SampledFrom([]int{0, 0, 1, 3, testFFN}).Draw(t, "gap"),
		predicted: []bool{rapid.IntRange(0, 3).Draw(t, "predicted") > 0, rapid.Bool().Draw(t, "predicted")},
	}
}

// pass is one layer pass.
type pass struct {
	layer       int
	decode      bool
	look        bool
	ahead, sets [][]int32 // what the forecast and the exact input want
}

func drawPass(t *rapid.T) pass {
	p := pass{
		layer:  rapid.IntRange(0, testLayers-1).Draw(t, "layer"),
		decode: rapid.Bool().Draw(t, "decode"),
		look:   rapid.Bool().Draw(t, "look"),
	}
	tokens := rapid.SampledFrom([]int{1, 1, 2, 5, mostTokens}).Draw(t, "tokens")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	sets := func() [][]int32 {
		share := rapid.SampledFrom([]float64{0, 0.1, 0.4, 1}).Draw(t, "share") / float64(min(tokens, 3))
		s := make([][]int32, tokens)
		for i := range s {
			for id := range int32(testFFN) {
				if rng.Float64() < share {
					s[i] = append(s[i], id)
				}
			}
		}
		return s
	}
	p.ahead, p.sets = sets(), sets()
	return p
}

// run does a pass and checks it.
func (h *harness) run(t rapid.TB, p pass) error {
	t.Helper()
	sets, ids := p.sets, union(p.sets)
	if !h.Predicted[p.layer] {
		ids = h.all
		for i := range sets {
			sets[i] = h.all
		}
	}
	h.poison()
	before := h.contents(p.layer)
	stats := h.Stats
	if p.look {
		if err := h.Lookahead(p.layer, h.predictor.input(p.layer, p.ahead...), p.decode); err != nil {
			t.Fatal(err)
		}
		h.operate()
	}
	w, err := h.Begin(p.layer, h.predictor.input(p.layer, sets...), p.decode)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.compute(t, w, p.layer, sets, ids); err != nil {
		return err
	}
	missing := 0
	for _, id := range ids {
		if _, ok := before[id]; !ok {
			missing++
		}
	}
	wanted, misses, wasted := h.Stats.Wanted-stats.Wanted, h.Stats.Misses-stats.Misses, h.Stats.Wasted-stats.Wasted
	switch {
	case wanted != int64(len(ids)):
		t.Fatalf("wanted: got %d, want %d", wanted, len(ids))
	case misses > wanted || misses < int64(missing), !p.look && (misses != int64(missing) || wasted != 0):
		t.Fatalf("misses: got %d with %d wasted, want the %d of %d not in the cache", misses, wasted, missing, wanted)
	}
	if p.decode {
		return nil
	}
	after := h.contents(p.layer)
	for id, s := range before {
		if ordered := h.ordered[p.layer]; ordered.Data != nil {
			s = ordered.First + id
		}
		if after[id] != s {
			t.Fatalf("a prompt moved neuron %d from slot %d to %d", id, s, after[id])
		}
	}
	for id := range after {
		if _, ok := before[id]; !ok && !slices.Contains(ids, id) {
			t.Fatalf("a prompt brought neuron %d, which it did not want", id)
		}
	}
	if free := h.Cache.Slots(p.layer) - len(before); len(after)-len(before) != min(free, missing) {
		t.Fatalf("a prompt that lacked %d neurons filled %d of %d free slots", missing, len(after)-len(before), free)
	}
	return nil
}

// Whatever the cache, the ring, the forecast and the tokens: a pass computes
// exactly the neurons that its exact input wants, with the right bytes, and
// leaves nothing pinned; a prompt leaves the cache as it was, but for slots
// that were free.
func TestPasses(t *testing.T) {
	f := makePack(t)
	rapid.Check(t, func(t *rapid.T) {
		f.file.set(time.Duration(rapid.IntRange(0, 1).Draw(t, "pause")) * 20 * time.Microsecond)
		h := newHarness(f, drawSetup(t))
		defer h.close()
		settle := rapid.Bool().Draw(t, "settle")
		for range rapid.IntRange(1, 12).Draw(t, "passes") {
			if err := h.run(t, drawPass(t)); err != nil {
				t.Fatal(err)
			}
			if settle {
				h.settled(t)
			}
		}
		h.settled(t)
	})
}

// A layer that is complete is moved once, before a pass over all its neurons.
func TestSeparate(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{testFFN, testFFN - 1}, ring: 4, hidden: testFFN, workers: 1, predicted: []bool{true, false}, separate: true})
	defer h.close()
	moved := 0
	h.Separate = func(s device.Slots, first int, at []int32) device.Slots {
		if moved++; first != 0 || slices.IsSorted(at) {
			t.Errorf("got slots from %d on, %v, want those of layer 0, of neurons that did not come in order", first, at)
		}
		return separate(s, first, at)
	}
	sets := func(ids ...int32) [][]int32 { return [][]int32{ids} }
	run := func(layer int, want int, sets [][]int32) {
		t.Helper()
		if err := h.run(t, pass{layer: layer, decode: true, sets: sets}); err != nil {
			t.Fatal(err)
		}
		h.settled(t)
		if moved != want {
			t.Errorf("layer %d: moved %d times, want %d", layer, moved, want)
		}
	}
	run(0, 0, sets(testFFN-1))
	run(0, 0, sets(2, 5))
	h.SetMode(0, config.Gate)
	h.Predicted[0] = false
	run(0, 0, sets(0)) // all, of which most are read
	run(0, 1, sets(0))
	run(0, 1, sets(0))
	for range 3 {
		run(1, 1, sets(0)) // never complete
	}
}

// A read that fails is an error of the passes that need it, and of no other:
// nothing stays pinned or in the cache without its bytes, and when the fault is
// gone the same pass succeeds.
func TestPassesWithFaults(t *testing.T) {
	f := makePack(t)
	rapid.Check(t, func(t *rapid.T) {
		h := newHarness(f, drawSetup(t))
		defer h.close()
		defer f.file.set(0)
		for range rapid.IntRange(1, 6).Draw(t, "passes") {
			p := drawPass(t)
			before := h.contents(p.layer)
			var bad []int64
			needed := false
			for _, id := range rapid.SliceOfN(rapid.Int32Range(0, testFFN-1), 0, 3).Draw(t, "bad") {
				bad = append(bad, f.BundleOffset(p.layer, int(id)))
				_, there := before[id]
				wanted := !h.Predicted[p.layer] || slices.Contains(union(p.sets), id)
				needed = needed || wanted && !there
			}
			f.file.set(0, bad...)
			err := h.run(t, p)
			if err == nil && needed {
				t.Fatal("a needed neuron cannot be read: got no error")
			}
			if err != nil && len(bad) == 0 {
				t.Fatal(err)
			}
			if err != nil && !p.look && !needed {
				t.Fatalf("only what was not needed cannot be read: got %v", err)
			}
			h.settled(t)
			f.file.set(0)
			if err := h.run(t, p); err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			h.settled(t)
		}
	})
}

// A pass may be given up anywhere: between Lookahead and Begin, before the
// first segment, in the middle of one. What was being read is waited for and,
// where it never came, forgotten.
func TestGiveUp(t *testing.T) {
	f := makePack(t)
	rapid.Check(t, func(t *rapid.T) {
		f.file.set(time.Duration(rapid.IntRange(0, 1).Draw(t, "pause")) * 20 * time.Microsecond)
		h := newHarness(f, drawSetup(t))
		defer h.close()
		for range rapid.IntRange(1, 6).Draw(t, "passes") {
			p := drawPass(t)
			h.poison()
			if err := h.Lookahead(p.layer, h.predictor.input(p.layer, p.ahead...), p.decode); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "abort") {
				h.Abort()
				h.settled(t)
				continue
			}
			w, err := h.Begin(p.layer, h.predictor.input(p.layer, p.sets...), p.decode)
			if err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(0, 3).Draw(t, "segments") {
				if !w.Next() {
					break
				}
				if rapid.Bool().Draw(t, "arrive") {
					if err := w.Arrive(); err != nil {
						t.Fatal(err)
					}
				} else {
					break
				}
			}
			w.Close()
			h.settled(t)
			if err := h.run(t, p); err != nil {
				t.Fatal(err)
			}
		}
		h.settled(t)
	})
}

// Where the policy gives no room beside the first segment, what is missing comes
// through the ring, in several segments if that is small; the neurons behind the
// first's end are computed again.
func TestNoRoomBeside(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{6, 6}, ring: 2, hidden: testFFN, workers: 1, beside: true, stubborn: true, predicted: []bool{true, true}})
	defer h.close()
	for _, set := range [][]int32{{1, 3, 5, 7, 9, 11}, {1, 2, 4, 5, 9, 10}} {
		w, err := h.Begin(0, h.predictor.input(0, set), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.compute(t, w, 0, [][]int32{set}, set); err != nil {
			t.Fatal(err)
		}
		h.settled(t)
	}
	if got := len(h.work.segments); got != 3 {
		t.Errorf("got %d segments, want 3: one a neuron of half a ring", got)
	}
}
