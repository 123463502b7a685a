package transfer

import (
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
)

// Step is what a layer is computed for.
type Step struct {
	// Decode says that the tokens are the newest of their sequences. Units are
	// then read early, and misses may evict.
	Decode bool
	// Exact computes every unit, whatever the layer's mode.
	Exact bool
	// Wanted, if not nil, sees which units each layer asks for, ascending.
	Wanted func(layer int, ids []int32)
	// Count is where the step is counted.
	Count *Stats
}

// Stats counts what steps did. Units are counted once for each layer pass,
// however many tokens wanted them. A pass that ends with an error counts as
// far as Fetch got.
type Stats struct {
	Wanted  int64         // units to compute
	Misses  int64         // of these, read for this pass, early or not
	Early   int64         // units read early
	Wasted  int64         // of these, not wanted after all
	Stall   time.Duration // spent waiting for reads
	Predict time.Duration // spent asking the predictor
	// WantedBytes and MissedBytes are the sizes of Wanted and Misses where units are
	// experts, which differ from layer to layer; 0 of neurons.
	WantedBytes, MissedBytes int64
}

// pass is one layer of a step.
type pass struct {
	step          Step
	layer, tokens int
	mode          config.Mode // Gate where an exact step overrules Predicted
}

// tell tells whoever observes the step what a layer asks for.
func (p pass) tell(ids []int32) {
	if p.step.Wanted != nil {
		p.step.Wanted(p.layer, ids)
	}
}

// since adds to d the time since begin.
func since(d *time.Duration, begin time.Time) { *d += time.Since(begin) }
