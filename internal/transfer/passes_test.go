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
	mode := rapid.SampledFrom([]config.Mode{config.Predicted, config.Predicted, config.Gate, config.Dense})
	return setup{
		slots:       []int{slots.Draw(t, "slots"), slots.Draw(t, "slots")},
		staging:     rapid.SampledFrom([]int{2, 3, 6, 2 * testFFN}).Draw(t, "staging"),
		activations: rapid.SampledFrom([]int{mostTokens, 3 * mostTokens, testFFN * mostTokens}).Draw(t, "activations"),
		workers:     rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "workers"),
		overlap:     rapid.Bool().Draw(t, "overlap"),
		stubborn:    rapid.IntRange(0, 3).Draw(t, "stubborn") == 0,
		reorder:     rapid.Bool().Draw(t, "reorder"),
		gap:         rapid.SampledFrom([]int{0, 0, 1, 3, testFFN}).Draw(t, "gap"),
		modes:       []config.Mode{mode.Draw(t, "mode"), mode.Draw(t, "mode")},
	}
}

// trial is one layer pass.
type trial struct {
	layer       int
	decode      bool
	exact       bool
	look        bool
	leftovers   bool      // of a pass that was given up: before the pass neither counts nor cache say what is true
	ahead, sets [][]int32 // what the forecast and the exact input want
}

func drawTrial(t *rapid.T) trial {
	p := trial{
		layer:  rapid.IntRange(0, testLayers-1).Draw(t, "layer"),
		decode: rapid.Bool().Draw(t, "decode"),
		exact:  rapid.IntRange(0, 5).Draw(t, "exact") == 0,
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

func (h *harness) stepOf(p trial) Step {
	s := h.step(p.decode)
	s.Exact = p.exact
	return s
}

// run does a pass and checks it.
func (h *harness) run(t rapid.TB, p trial) error {
	t.Helper()
	sets, ids := p.sets, union(p.sets)
	if h.setup.modes[p.layer] != config.Predicted || p.exact {
		ids = h.fetcher.all
		for i := range sets {
			sets[i] = h.fetcher.all
		}
	}
	if !p.leftovers { // which may be a plan that is under way
		h.poison()
	}
	before := h.contents(p.layer)
	stats := h.stats
	if p.look {
		if err := h.Prefetch(h.stepOf(p), p.layer, h.predictor.input(p.layer, p.ahead...)); err != nil {
			t.Fatal(err)
		}
		h.operate()
	}
	w, err := h.Fetch(h.stepOf(p), p.layer, h.predictor.input(p.layer, sets...))
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
	wanted, misses, wasted := h.stats.Wanted-stats.Wanted, h.stats.Misses-stats.Misses, h.stats.Wasted-stats.Wasted
	switch {
	case p.leftovers:
		return nil
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
		if ordered := h.fetcher.ordered[p.layer]; ordered.Data != nil {
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
	if free := h.fetcher.Cache.Slots(p.layer) - len(before); len(after)-len(before) != min(free, missing) {
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
			if err := h.run(t, drawTrial(t)); err != nil {
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
func TestReorder(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{testFFN, testFFN - 1}, staging: 4, activations: testFFN, workers: 1, modes: []config.Mode{config.Predicted, config.Gate}, reorder: true})
	defer h.close()
	moved := 0
	h.fetcher.Reorder = func(s device.Slots, first int, at []int32) device.Slots {
		if moved++; first != 0 || slices.IsSorted(at) {
			t.Errorf("got slots from %d on, %v, want those of layer 0, of neurons that did not come in order", first, at)
		}
		return separate(s, first, at)
	}
	sets := func(ids ...int32) [][]int32 { return [][]int32{ids} }
	run := func(layer int, exact bool, want int, sets [][]int32) {
		t.Helper()
		if err := h.run(t, trial{layer: layer, decode: true, exact: exact, sets: sets}); err != nil {
			t.Fatal(err)
		}
		h.settled(t)
		if moved != want {
			t.Errorf("layer %d: moved %d times, want %d", layer, moved, want)
		}
	}
	run(0, false, 0, sets(testFFN-1))
	run(0, false, 0, sets(2, 5))
	run(0, true, 0, sets(0)) // all, of which most are read
	run(0, true, 1, sets(0))
	run(0, true, 1, sets(0))
	for range 3 {
		run(1, false, 1, sets(0)) // never complete
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
			p := drawTrial(t)
			before := h.contents(p.layer)
			var bad []int64
			needed := false
			for _, id := range rapid.SliceOfN(rapid.Int32Range(0, testFFN-1), 0, 3).Draw(t, "bad") {
				bad = append(bad, f.BundleOffset(p.layer, int(id)))
				_, there := before[id]
				wanted := h.setup.modes[p.layer] != config.Predicted || p.exact || slices.Contains(union(p.sets), id)
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

// A pass may be given up anywhere: between Prefetch and Fetch, before the first
// segment, in the middle of one. Whatever is called next cleans up: what was
// being read is waited for and, where it never came, forgotten.
func TestGiveUp(t *testing.T) {
	f := makePack(t)
	rapid.Check(t, func(t *rapid.T) {
		f.file.set(time.Duration(rapid.IntRange(0, 1).Draw(t, "pause")) * 20 * time.Microsecond)
		h := newHarness(f, drawSetup(t))
		defer h.close()
		for range rapid.IntRange(1, 6).Draw(t, "passes") {
			p := drawTrial(t)
			h.poison()
			if err := h.Prefetch(h.stepOf(p), p.layer, h.predictor.input(p.layer, p.ahead...)); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "fetch") {
				w, err := h.Fetch(h.stepOf(p), p.layer, h.predictor.input(p.layer, p.sets...))
				if err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "compute") {
					h.giveUp(t, w)
					h.settled(t)
				}
			}
			if p.leftovers = rapid.Bool().Draw(t, "leftovers"); !p.leftovers {
				h.Close()
				h.settled(t)
				p.look = true // what a forecast brought is not compared with anything yet
			} else {
				h.another(t, &p)
			}
			if err := h.run(t, p); err != nil {
				t.Fatal(err)
			}
			h.settled(t)
		}
	})
}

// another makes a call that is not followed by the one that p is about, and
// perhaps moves p to another layer.
func (h *harness) another(t *rapid.T, p *trial) {
	p.layer = rapid.IntRange(0, testLayers-1).Draw(t, "next layer")
	var err error
	switch x := h.predictor.input(p.layer, p.ahead...); rapid.IntRange(0, 2).Draw(t, "call") {
	case 1:
		_, err = h.Asked(h.stepOf(*p), p.layer, x)
	case 2:
		err = h.Prefetch(h.stepOf(*p), p.layer, x)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// giveUp goes through some segments, and some arrivals of the last.
func (h *harness) giveUp(t *rapid.T, w *Work) {
	left := rapid.IntRange(0, 3).Draw(t, "segments")
	for seg := range w.Segments {
		if left--; left < 0 {
			return
		}
		for _, err := range seg.Arrivals {
			if err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(t, "in the middle") == 0 {
				return
			}
		}
	}
}

// Where the policy gives no room, what is missing comes through the staging
// slots, in several segments if these are few.
func TestNoRoom(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{6, 6}, staging: 2, activations: testFFN, workers: 1, overlap: true, stubborn: true, modes: bothPredicted})
	defer h.close()
	for _, set := range [][]int32{{1, 3, 5, 7, 9, 11}, {1, 2, 4, 5, 9, 10}} {
		w, err := h.Fetch(h.step(true), 0, h.predictor.input(0, set))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.compute(t, w, 0, [][]int32{set}, set); err != nil {
			t.Fatal(err)
		}
		h.settled(t)
	}
	if got := len(h.work.plan.Segments); got != 3 {
		t.Errorf("got %d segments, want 3: one a neuron of half the staging slots", got)
	}
}
