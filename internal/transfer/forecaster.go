package transfer

import "slices"

// forecaster decides which layers read early what a forecast of their input
// asks for, by counting what such reads were worth. Nothing that is computed
// depends on it.
//
// A unit that was read early and is wanted saved a wait. One that is not cost a
// read, and often evicted a unit that will be missed. Where more are wasted
// than wanted the layer guesses no more, which also saves asking the predictor
// twice.
type forecaster struct {
	layers []record
	early  []int32 // units that the latest forecast reads, ascending
}

// record is what a layer's forecasts were worth.
type record struct {
	early, wasted int
	off           bool
}

// enoughGuesses is how many units a layer must have read early before it is
// judged. The first tokens of an empty cache, whose reads are nearly all wanted
// by somebody, are a part of them.
const enoughGuesses = 512

// pays reports whether a layer still guesses.
func (f *forecaster) pays(layer int) bool { return !f.layers[layer].off }

// compare counts a plan, of which it is known what is missing, and judges the
// forecast for it. A unit that was read early is one miss, also where it has to
// be read again because the read failed or the unit was evicted meanwhile.
func (f *forecaster) compare(layer int, plan *NeuronTransferPlan, count *Stats) {
	misses, wasted := len(plan.Misses), 0
	for _, id := range f.early {
		switch i, ok := slices.BinarySearch(plan.IDs, id); {
		case !ok:
			wasted++
		case plan.Slots[i] >= 0:
			misses++
		}
	}
	count.Wanted += int64(len(plan.IDs))
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
