package transfer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sparseflow/sparseflow/internal/config"
)

// one does a decode pass of one token in layer 0, without a forecast.
func (h *harness) one(t *testing.T, ids []int32) {
	t.Helper()
	w, err := h.Fetch(h.step(true), 0, h.predictor.input(0, ids))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.compute(t, w, 0, [][]int32{ids}, ids); err != nil {
		t.Fatal(err)
	}
}

// arrive goes through the arrivals of a Work that is one segment, with an
// operation after each.
func (h *harness) arrive(w *Work) (all [][]int32, err error) {
	for seg := range w.Segments {
		for there, err := range seg.Arrivals {
			if err != nil {
				return all, err
			}
			all = append(all, slices.Clone(there))
			h.operate()
		}
	}
	return all, nil
}

// forecast looks ahead to one token's neurons in layer 0.
func (h *harness) forecast(t *testing.T, ids []int32) {
	t.Helper()
	if err := h.Prefetch(h.step(true), 0, h.predictor.input(0, ids)); err != nil {
		t.Fatal(err)
	}
}

// seq is the neurons from lo to hi-1.
func seq(lo, hi int32) (ids []int32) {
	for i := lo; i < hi; i++ {
		ids = append(ids, i)
	}
	return ids
}

// What the counters say, in cases small enough to count by hand.
func TestStats(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	type step struct {
		ahead, exact []int32
		prompt       bool
		want         Stats // of this step
	}
	for _, c := range []struct {
		name    string
		slots   int
		workers int
		steps   []step
	}{
		{"all new, then all there", 8, 1, []step{
			{nil, seq(0, 5), false, Stats{Wanted: 5, Misses: 5}},
			{nil, seq(0, 5), false, Stats{Wanted: 5}},
		}},
		{"without workers nothing is read early", 8, 0, []step{
			{seq(0, 5), seq(3, 8), false, Stats{Wanted: 5, Misses: 5}},
		}},
		{"read early and wanted is a miss, there before is not", 8, 1, []step{
			{seq(0, 2), seq(0, 2), false, Stats{Wanted: 2, Misses: 2, Early: 2}},
			{seq(0, 4), seq(0, 4), false, Stats{Wanted: 4, Misses: 2, Early: 2}},
		}},
		{"read early and not wanted is wasted once", 8, 1, []step{
			{seq(0, 4), seq(2, 6), false, Stats{Wanted: 4, Misses: 4, Early: 4, Wasted: 2}},
			{seq(0, 2), seq(0, 2), false, Stats{Wanted: 2}},
			{seq(4, 8), seq(0, 2), false, Stats{Wanted: 2, Early: 2, Wasted: 2}},
			{nil, nil, false, Stats{}},
		}},
		{"read early, evicted before it was wanted", 2, 1, []step{
			{seq(0, 2), seq(4, 6), false, Stats{Wanted: 2, Misses: 2, Early: 2, Wasted: 2}},
			{seq(4, 6), seq(0, 2), false, Stats{Wanted: 2, Misses: 2}},
		}},
		{"no slots: all through the ring, nothing early", 0, 1, []step{
			{seq(0, 9), seq(0, 9), false, Stats{Wanted: 9, Misses: 9}},
			{seq(0, 9), seq(0, 9), false, Stats{Wanted: 9, Misses: 9}},
		}},
		{"more than the cache holds", 3, 1, []step{
			{seq(0, 9), seq(0, 9), false, Stats{Wanted: 9, Misses: 9}},
			{seq(0, 9), seq(0, 9), false, Stats{Wanted: 9, Misses: 6}}, // the first three fill free slots and stay
		}},
		{"a prompt reads nothing early and fills free slots", 4, 1, []step{
			{seq(0, 2), seq(0, 2), true, Stats{Wanted: 2, Misses: 2}},
			{seq(4, 8), seq(2, 8), true, Stats{Wanted: 6, Misses: 6}},
			{nil, seq(0, 8), true, Stats{Wanted: 8, Misses: 4}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(f, setup{slots: []int{c.slots, 0}, staging: 4, activations: testFFN, workers: c.workers, modes: bothPredicted})
			defer h.close()
			for n, s := range c.steps {
				before := h.stats
				if err := h.Prefetch(h.step(!s.prompt), 0, h.predictor.input(0, s.ahead)); err != nil {
					t.Fatal(err)
				}
				h.settle() // whatever was read early is there, and may be evicted
				w, err := h.Fetch(h.step(!s.prompt), 0, h.predictor.input(0, s.exact))
				if err != nil {
					t.Fatal(err)
				}
				if err := h.compute(t, w, 0, [][]int32{s.exact}, s.exact); err != nil {
					t.Fatal(err)
				}
				got := h.stats
				got.Wanted, got.Misses, got.Wasted, got.Stall = got.Wanted-before.Wanted, got.Misses-before.Misses, got.Wasted-before.Wasted, 0
				got.Early, got.Predict = got.Early-before.Early, 0
				if got != s.want {
					t.Errorf("step %d: got %+v, want %+v", n, got, s.want)
				}
			}
		})
	}
}

// An early read that failed is made again for whoever wants the neuron, which
// is one miss, and is no waste.
func TestEarlyReadFails(t *testing.T) {
	f := makePack(t)
	h := newHarness(f, setup{slots: []int{8, 8}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	f.file.set(0, f.BundleOffset(0, 1))
	h.forecast(t, seq(0, 3))
	h.settle()
	if in := h.contents(0); len(in) != 0 {
		t.Errorf("in the cache after a read of three failed: got %v, want none", in)
	}
	f.file.set(0)
	h.one(t, seq(1, 3))
	if h.stats.Misses != 2 || h.stats.Wanted != 2 {
		t.Errorf("got %+v, want 2 wanted, 2 misses", h.stats)
	}
	h.settled(t)
}

// A neuron that came in time is there before it is checked. That it is not whole
// is an error afterwards, and the neuron is missing again.
func TestPresentIsChecked(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		f := makePack(t) // a bundle is checked once
		f.file.set(0)
		h := newHarness(f, setup{slots: []int{8, 0}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted, overlap: overlap})
		f.file.spoil(f.BundleOffset(0, 1) + 7)
		h.forecast(t, []int32{1, 5})
		h.operate()
		for _, a := range h.fetcher.early {
			for !h.fetcher.inflight[a.slot].Done() {
			}
		}
		w, err := h.Fetch(h.step(true), 0, h.predictor.input(0, []int32{1, 5}))
		if err != nil {
			t.Fatal(err)
		}
		there, err := h.arrive(w)
		if len(there) != 1 || len(there[0]) != 2 {
			t.Errorf("got %v, want both at once", there)
		}
		if err == nil || !strings.Contains(err.Error(), "CRC-32C") {
			t.Errorf("got error %v, want one of a wrong checksum", err)
		}
		h.settle()
		if in := h.contents(0); len(in) != 1 {
			t.Errorf("in the cache: got %v, want neuron 5 alone", in)
		}
		f.file.spoil()
		h.one(t, []int32{1, 5})
		h.settled(t)
		h.close()
	}
}

// Reads run while the caller does something else, and what has not come arrives
// later; the time spent waiting is counted.
func TestPresentAndPending(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{8, 0}, staging: 4, activations: testFFN, workers: 2, modes: bothPredicted})
	defer h.close()
	h.one(t, seq(1, 3))
	f.file.gate.Lock()
	w, err := h.Fetch(h.step(true), 0, h.predictor.input(0, []int32{1, 2, 7}))
	if err != nil {
		t.Fatal(err)
	}
	stall := h.stats.Stall
	for seg := range w.Segments {
		var arrived [][]int32
		for there, err := range seg.Arrivals {
			if err != nil {
				t.Fatal(err)
			}
			if arrived = append(arrived, slices.Clone(there)); len(arrived) == 1 {
				time.AfterFunc(5*time.Millisecond, f.file.gate.Unlock)
			}
		}
		if diff := cmp.Diff([][]int32{{0, 1}, {2}}, arrived); diff != "" {
			t.Errorf("got other arrivals (-want +got):\n%s", diff)
		}
	}
	if got := h.stats.Stall - stall; got < 2*time.Millisecond {
		t.Errorf("waited 5 ms: got a stall of %v", got)
	}
	h.settled(t)
}

// The policy is told of a use when a neuron was computed because it was
// wanted: not when it was forecast, not when all neurons were, not when the
// pass was given up.
func TestPolicyHearsOfUse(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{6, testFFN}, staging: 4, activations: 4, workers: 1, modes: []config.Mode{config.Predicted, config.Gate}})
	defer h.close()
	used := func(layer int, want ...int32) {
		t.Helper()
		got := h.policies[layer].used
		h.policies[layer].used = nil
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("told of use: got %v, want %v", got, want)
		}
	}
	h.forecast(t, seq(0, 3))
	h.settle()
	h.forecast(t, []int32{0, 1, 3})
	used(0)
	h.one(t, seq(1, 6))
	used(0, 1, 2, 3, 4, 5)
	// Through the ring there is no slot to tell of.
	if err := h.run(t, trial{layer: 0, sets: [][]int32{{1, 2, 8, 9}}}); err != nil {
		t.Fatal(err)
	}
	used(0, 1, 2)
	w, err := h.Fetch(h.step(true), 0, h.predictor.input(0, seq(1, 3)))
	if err != nil {
		t.Fatal(err)
	}
	for range w.Segments {
		break // given up
	}
	used(0)
	if err := h.run(t, trial{layer: 1, decode: true, look: true, ahead: make([][]int32, 1), sets: make([][]int32, 1)}); err != nil {
		t.Fatal(err)
	}
	used(1)
}

// What was read early and has come gives way to what is wanted now; a set
// larger than the cache, forecast or wanted, leaves the cache as it is.
func TestEviction(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{3, 3}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	wantIn := func(want ...int32) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(h.contents(0))); !slices.Equal(got, want) {
			t.Errorf("in the cache: got %v, want %v", got, want)
		}
	}
	h.forecast(t, seq(0, 3))
	for _, a := range h.fetcher.early {
		if err := h.fetcher.inflight[a.slot].Wait(); err != nil {
			t.Fatal(err)
		}
	}
	h.one(t, seq(5, 8))
	wantIn(5, 6, 7)
	h.one(t, seq(10, 14))
	wantIn(5, 6, 7)
	reads := h.fetcher.Transfer.Reads()
	h.forecast(t, seq(10, 14))
	h.settle()
	wantIn(5, 6, 7)
	if n := h.fetcher.Transfer.Reads() - reads; n != 0 {
		t.Errorf("a forecast larger than the cache: got %d reads, want none", n)
	}
	h.settled(t)
}

// A predictor's error ends the pass and nothing else.
func TestPredictorFails(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{6, 6}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	broken := errors.New("broken")
	h.predictor.err = broken
	x := h.predictor.input(1, seq(0, 3))
	if err := h.Prefetch(h.step(true), 1, x); !errors.Is(err, broken) {
		t.Errorf("Prefetch: got %v, want %v", err, broken)
	}
	if _, err := h.Fetch(h.step(true), 1, x); !errors.Is(err, broken) || err.Error() != fmt.Sprintf("transfer: predict layer 1: %v", broken) {
		t.Errorf("Fetch: got %v, want %v of layer 1", err, broken)
	}
	h.settled(t)
	h.predictor.err = nil
	if err := h.run(t, trial{layer: 1, decode: true, look: true, ahead: [][]int32{seq(0, 3)}, sets: [][]int32{seq(0, 3)}}); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(h.contents(1))); !slices.Equal(got, seq(0, 3)) {
		t.Errorf("got neurons %v in the cache, want 0 to 2", got)
	}
}

// Once a layer's neurons all have slots nobody is asked for a forecast: there
// is nothing left to read early.
func TestNoForecastOfWhatIsThere(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{testFFN, 6}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	all := trial{layer: 0, decode: true, sets: [][]int32{seq(0, testFFN)}}
	if err := h.run(t, all); err != nil {
		t.Fatal(err)
	}
	h.predictor.err = errors.New("asked")
	x := h.predictor.input(0, seq(0, 3))
	if err := h.Prefetch(h.step(true), 0, x); err != nil {
		t.Errorf("a complete layer: got %v, want the predictor left alone", err)
	}
	if err := h.Prefetch(h.step(true), 1, x); err == nil {
		t.Error("a layer with few slots: got no error, want the predictor asked")
	}
	h.settled(t)
}

// A layer computes what its mode says, for prompts another than while decoding
// where that is asked for, and everything in an exact step.
func TestModes(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{8, 0}, staging: 4, activations: testFFN, workers: 1,
		modes: []config.Mode{config.Predicted, config.Gate}, prompts: []config.Mode{config.Dense, config.Predicted}})
	defer h.close()
	for _, c := range []struct {
		layer         int
		decode, exact bool
		computed      int
		skip          bool
	}{
		{0, true, false, 3, true},
		{0, true, true, testFFN, true},
		{0, false, false, testFFN, false},
		{1, true, false, testFFN, true},
		{1, false, false, 3, true},
	} {
		w, err := h.Fetch(Step{Decode: c.decode, Exact: c.exact, Count: &h.stats}, c.layer, h.predictor.input(c.layer, seq(0, 3)))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for seg := range w.Segments {
			for _, err := range seg.Arrivals {
				if err != nil {
					t.Fatal(err)
				}
			}
			n += len(seg.Units.IDs)
			if seg.Units.SkipZero != c.skip {
				t.Errorf("%+v: got SkipZero %v", c, seg.Units.SkipZero)
			}
		}
		if n != c.computed {
			t.Errorf("%+v: got %d neurons", c, n)
		}
	}
}

// Who asks for what decoding would compute is told for every token, and a layer
// that computes everything has no mask.
func TestAsked(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{8, 0}, staging: 4, activations: testFFN, workers: 1, modes: []config.Mode{config.Predicted, config.Gate}})
	defer h.close()
	var told []int32
	step := h.step(false)
	step.Wanted = func(_ int, ids []int32) { told = slices.Clone(ids) }
	sets := [][]int32{{0, 7}, {7, 9}}
	for n := range 2 {
		asked, err := h.Asked(step, 0, h.predictor.input(0, sets[:n+1]...))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]uint64, testFFN)
		for tok, set := range sets[:n+1] {
			for _, id := range set {
				want[id] |= 1 << tok
			}
		}
		if !slices.Equal(asked, want) || !slices.Equal(told, union(sets[:n+1])) {
			t.Errorf("%d tokens: got %b and told %v, want %b", n+1, asked, told, want)
		}
	}
	if asked, err := h.Asked(step, 1, h.predictor.input(1, sets...)); err != nil || asked != nil {
		t.Errorf("a gate layer: got %v, error %v, want no mask", asked, err)
	}
	if h.stats.Wanted != 0 || h.fetcher.Transfer.Reads() != 0 {
		t.Errorf("got %+v and %d reads, want nothing but an answer", h.stats, h.fetcher.Transfer.Reads())
	}
}
