package transfer

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
)

// forecaster reads early what a forecast of a layer's input asks for, and knows
// by counts in which layers that pays. Nothing that is computed depends on it.
//
// A unit that was read early and is wanted saved a wait. One that is not cost a
// read, and often evicted a unit that will be missed. Where more are wasted
// than wanted the layer guesses no more, which also saves asking the predictor
// twice.
type forecaster struct {
	selector *selector
	fetcher  *fetcher
	overlap  *overlap
	layers   []record
	pass     pass    // of the latest forecast
	early    []int32 // units that it reads, ascending
	guessed  []int32 // experts that are still to be read for it, the likeliest first
	chore    func()  // read, as a value made once
}

// record is what a layer's forecasts were worth.
type record struct {
	early, wasted int
	asked         int // tokens that guessed, of layers of experts
	off           bool
}

// enoughGuesses is how many units a layer must have read early before it is
// judged. The first tokens of an empty cache, whose reads are nearly all wanted
// by somebody, are a part of them.
const enoughGuesses = 512

// guess starts reads for x, [tokens, d], where that pays.
func (f *forecaster) guess(p pass, x device.Act) error {
	if f.layers[p.layer].off || f.fetcher.Cache.Complete(p.layer) {
		return nil
	}
	if err := f.selector.score(p.layer, x, p.step.Count); err != nil {
		return err
	}
	f.pass = p
	f.overlap.add(f.chore)
	return nil
}

// read reads what the scores of the forecast ask for.
func (f *forecaster) read() {
	count := f.pass.step.Count
	f.early = f.fetcher.prefetch(f.pass.layer, f.selector.pick(f.pass.tokens, count).IDs, f.early)
	count.Early += int64(len(f.early))
}

// compare counts a plan, whose misses have no slots yet, and judges the forecast
// for it. A unit that was read early is one miss, also where it has to be read
// again because the read failed or the unit was evicted meanwhile.
func (f *forecaster) compare(layer int, plan *NeuronTransferPlan, count *Stats) {
	misses, wasted := len(plan.Misses), 0
	for _, id := range f.early {
		switch i, ok := slices.BinarySearch(plan.Units.IDs, id); {
		case !ok:
			wasted++
		case plan.Units.Slots[i] >= 0:
			misses++
		}
	}
	count.Wanted += int64(len(plan.Units.IDs))
	count.Misses += int64(misses)
	count.Wasted += int64(wasted)
	f.layers[layer].judge(len(f.early), wasted)
	f.early = f.early[:0]
}

// judge counts the guesses of one pass.
func (r *record) judge(early, wasted int) {
	r.early += early
	r.wasted += wasted
	if r.early < enoughGuesses {
		return
	}
	if 2*r.wasted > r.early {
		r.off = true
	}
	// What is long ago counts less and less.
	r.early, r.wasted = r.early/2, r.wasted/2
}
