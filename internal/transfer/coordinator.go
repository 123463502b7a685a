package transfer

import (
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Options is what a TransferCoordinator is made of.
type Options struct {
	Units  int // of a layer
	Memory Memory
	Policy Policy
	Reader Reader
	// Overlap has a function run while other threads compute, on the goroutine
	// of the coordinator; see device.Backend. Nil: at once.
	Overlap func(func())
}

// Memory is where units are while they are computed.
type Memory struct {
	Cache *cache.WeightCache
	// Slots is the memory of the cache's slots and, after them, of the staging
	// slots, of which there are Staging, at least 2.
	Slots   device.Slots
	Staging int
	// Activations is the most activations of one segment: units x tokens.
	Activations int
	// Reorder moves the units of a complete layer; see cpu.Backend. Nil: they
	// stay as they came.
	Reorder func(s device.Slots, first int, at []int32) device.Slots
}

// Policy is how layers decide what they compute.
type Policy struct {
	// Modes is Predicted, Gate or Dense for each layer while decoding, and
	// Prompts the same for prompts; nil: as while decoding.
	Modes, Prompts []config.Mode
	Predictor      predict.ActivationPredictor
	Selection      predict.Selection
	// Scores is memory for scores, [most tokens, units].
	Scores []float32
}

// Reader is how units are read.
type Reader struct {
	Transfer *disk.AsyncWeightTransfer
	// Places is where each unit lies among its layer's in the pack,
	// [layers][units]; nil: in the order of units.
	Places [][]int32
	// Join reports whether one read of two runs of units and the gap between
	// them is cheaper than two, given their bytes. Nil: only runs without a gap
	// are joined.
	Join func(run, gap, next int64) bool
	// Gaps is memory for what lies in such gaps, page aligned, at least a unit
	// if there is a Join.
	Gaps []byte
}

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
}

// TransferCoordinator gets the units of one model's layers into fast memory,
// one layer after the other.
type TransferCoordinator struct {
	policy     Policy
	overlap    overlap
	selector   selector
	forecaster forecaster
	fetcher    fetcher
	work       Work // the one there is at a time, for its memory
}

// NewTransferCoordinator makes a coordinator.
func NewTransferCoordinator(o Options) *TransferCoordinator {
	if o.Policy.Prompts == nil {
		o.Policy.Prompts = o.Policy.Modes
	}
	layers := len(o.Policy.Modes)
	c := &TransferCoordinator{
		policy:   o.Policy,
		overlap:  overlap{begin: o.Overlap},
		selector: selector{Policy: o.Policy, units: o.Units},
		fetcher:  newFetcher(o, layers),
	}
	c.overlap.all = c.overlap.finish
	c.forecaster = forecaster{selector: &c.selector, fetcher: &c.fetcher, overlap: &c.overlap, layers: make([]record, layers)}
	c.forecaster.chore = c.forecaster.read
	w := &c.work
	w.fetcher, w.forecaster, w.overlap = &c.fetcher, &c.forecaster, &c.overlap
	w.slots = make([]int32, o.Units)
	w.start, w.next, w.check, w.release = w.startReads, w.stageNext, w.checkPresent, w.releaseSlots
	return c
}

// pass is one layer of a step, for x, [tokens, d].
func (c *TransferCoordinator) pass(step Step, layer int, x device.Act) pass {
	mode := c.policy.Prompts[layer]
	if step.Decode {
		mode = c.policy.Modes[layer]
	}
	if step.Exact && mode == config.Predicted {
		mode = config.Gate
	}
	return pass{step, layer, x.Rows, mode}
}

// Prefetch starts the reads that a layer's MLP will likely need. x is the
// forecast of its input, [tokens, d].
func (c *TransferCoordinator) Prefetch(step Step, layer int, x device.Act) error {
	c.work.end()
	c.forecaster.early = c.forecaster.early[:0]
	p := c.pass(step, layer, x)
	switch {
	case !c.fetcher.Transfer.Async():
		return nil
	case p.mode != config.Predicted: // there is nothing to guess
		c.overlap.finish()
		c.plan(p, device.Work{IDs: c.fetcher.all})
		c.work.ahead = true
		return nil
	case !step.Decode:
		// A prompt's tokens together want most units, through the staging
		// slots, in an order that only the exact input tells.
		return nil
	}
	return c.forecaster.guess(p, x)
}

// Fetch decides what a layer computes for its exact input x, [tokens, d], and
// starts the reads that are still missing.
func (c *TransferCoordinator) Fetch(step Step, layer int, x device.Act) (*Work, error) {
	w, p := &c.work, c.pass(step, layer, x)
	if !w.ahead || w.pass.layer != p.layer || w.pass.tokens != p.tokens || p.mode == config.Predicted {
		want, err := c.want(p, x)
		if err != nil {
			return nil, err
		}
		c.plan(p, want)
	}
	w.ahead = false
	p.tell(w.plan.Units.IDs)
	return w, nil
}

// Asked is the units that would be computed for x while decoding, though the
// tokens may be a prompt's. It is valid until the predictor is asked again.
func (c *TransferCoordinator) Asked(step Step, layer int, x device.Act) (device.Work, error) {
	step.Decode = true
	p := c.pass(step, layer, x)
	want, err := c.want(p, x)
	if err == nil {
		p.tell(want.IDs)
	}
	return want, err
}

// want is the units that the exact input wants.
func (c *TransferCoordinator) want(p pass, x device.Act) (device.Work, error) {
	c.work.end()
	c.overlap.finish()
	if p.mode != config.Predicted {
		return device.Work{IDs: c.fetcher.all}, nil
	}
	if err := c.selector.score(p.layer, x, p.step.Count); err != nil {
		return device.Work{}, err
	}
	return c.selector.pick(x.Rows, p.step.Count), nil
}

// plan makes the work for what is wanted and looks up which of it is there. That
// can be computed at once; room for the rest is made while that happens.
func (c *TransferCoordinator) plan(p pass, want device.Work) {
	w, f := &c.work, &c.fetcher
	if len(want.IDs) == f.units || !p.step.Decode {
		f.reorder(p.layer)
	}
	if len(want.IDs) == f.units {
		f.releaseEarly(p.layer, nil) // who finds a failed read now reads again
	}
	want.Slots, want.SkipZero = w.slots[:len(want.IDs)], p.mode != config.Dense
	w.Memory, w.pass, w.plan.Units = f.memory(p.layer), p, want
	w.open, w.used, w.staging, w.arrivals.failed = true, false, 0, nil
	f.Cache.Pin(p.layer, want.IDs, want.Slots)
	f.segment(&w.plan, f.Cache.Free(p.layer), max(1, f.Activations/p.tokens))
	c.overlap.add(w.start)
}

// tell tells whoever observes the step what a layer asks for.
func (p pass) tell(ids []int32) {
	if p.step.Wanted != nil {
		p.step.Wanted(p.layer, ids)
	}
}

// Close waits for all reads, after which nothing is pinned.
func (c *TransferCoordinator) Close() {
	c.work.end()
	c.overlap.finish()
	c.fetcher.settle()
}
