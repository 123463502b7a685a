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
	overlap    *overlap
	selector   selector
	forecaster forecaster
	fetcher    fetcher
	work       Work // the one there is at a time, for its memory

	guessing pass   // of guess
	guess    func() // readGuess, as a value made once
	asked    []uint64
}

// NewTransferCoordinator makes a coordinator.
func NewTransferCoordinator(o Options) *TransferCoordinator {
	if o.Policy.Prompts == nil {
		o.Policy.Prompts = o.Policy.Modes
	}
	layers := len(o.Policy.Modes)
	c := &TransferCoordinator{
		policy:     o.Policy,
		overlap:    newOverlap(o.Overlap),
		selector:   selector{Policy: o.Policy, units: o.Units},
		forecaster: forecaster{layers: make([]record, layers)},
		fetcher:    newFetcher(o, layers),
	}
	c.guess = c.readGuess
	c.work.init(&c.fetcher, &c.forecaster, c.overlap)
	return c
}

// Prefetch starts the reads that a layer's MLP will likely need. x is the
// forecast of its input, [tokens, d].
func (c *TransferCoordinator) Prefetch(step Step, layer int, x device.Act) error {
	c.work.end()
	c.forecaster.early = c.forecaster.early[:0]
	switch {
	case !c.fetcher.Transfer.Async():
		return nil
	case !c.predicts(step, layer):
		// Every unit is wanted: there is nothing to guess.
		c.overlap.finish()
		c.plan(pass{step, layer, x.Rows}, wanted{ids: c.fetcher.all})
		c.work.ahead = true
		return nil
	case !step.Decode:
		// A prompt's tokens together want most units, through the staging
		// slots, in an order that only the exact input tells.
		return nil
	case c.fetcher.Cache.Complete(layer) || !c.forecaster.pays(layer):
		return nil
	}
	if err := c.selector.score(layer, x, step.Count); err != nil {
		return err
	}
	c.guessing = pass{step, layer, x.Rows}
	c.overlap.add(c.guess)
	return nil
}

// readGuess reads what the scores of a forecast ask for.
func (c *TransferCoordinator) readGuess() {
	count := c.guessing.step.Count
	ids := c.selector.pick(c.guessing.tokens, count).ids
	c.forecaster.early = c.fetcher.prefetch(c.guessing.layer, ids, c.forecaster.early)
	count.Early += int64(len(c.forecaster.early))
}

// Fetch decides what a layer computes for its exact input x, [tokens, d], and
// starts the reads that are still missing.
func (c *TransferCoordinator) Fetch(step Step, layer int, x device.Act) (*Work, error) {
	w := &c.work
	if p := w.pass; !w.ahead || p.layer != layer || p.tokens != x.Rows || c.predicts(step, layer) {
		w.end()
		c.overlap.finish()
		want, err := c.want(step, layer, x)
		if err != nil {
			return nil, err
		}
		c.plan(pass{step, layer, x.Rows}, want)
	}
	w.ahead = false
	step.tell(layer, w.plan.IDs)
	return w, nil
}

// Asked says who would be computed for x while decoding, though the tokens may
// be a prompt's: a bit per unit of the layer and token, in words of 64 tokens as
// in device.Work; nil: everyone. It is valid until the next call.
func (c *TransferCoordinator) Asked(step Step, layer int, x device.Act) ([]uint64, error) {
	c.work.end()
	c.overlap.finish()
	step.Decode = true
	want, err := c.want(step, layer, x)
	if err != nil {
		return nil, err
	}
	step.tell(layer, want.ids)
	if len(want.ids) == c.fetcher.units && want.tokens == nil {
		return nil, nil
	}
	c.asked = want.spread(c.asked, c.fetcher.units, x.Rows)
	return c.asked, nil
}

// want is what the exact input wants.
func (c *TransferCoordinator) want(step Step, layer int, x device.Act) (wanted, error) {
	if !c.predicts(step, layer) {
		return wanted{ids: c.fetcher.all}, nil
	}
	if err := c.selector.score(layer, x, step.Count); err != nil {
		return wanted{}, err
	}
	return c.selector.pick(x.Rows, step.Count), nil
}

// tell tells whoever observes the step what a layer asks for.
func (s Step) tell(layer int, ids []int32) {
	if s.Wanted != nil {
		s.Wanted(layer, ids)
	}
}

// plan makes the work for what is wanted. Units that are there can be computed
// at once; room for the others is made while that happens.
func (c *TransferCoordinator) plan(p pass, want wanted) {
	f := &c.fetcher
	everything := len(want.ids) == f.units
	if everything || !p.step.Decode {
		f.reorder(p.layer)
	}
	if everything {
		f.releaseEarly(p.layer, nil) // who finds a failed read now reads again
	}
	// A set larger than the cache would evict what other tokens want and still
	// not be whole for the next token that wants the same.
	evict := p.step.Decode && len(want.ids) <= f.Cache.Slots(p.layer)
	c.work.begin(p, want, evict, c.mode(p.step, p.layer) != config.Dense)
}

// predicts reports whether a layer computes what the predictor asks for.
func (c *TransferCoordinator) predicts(step Step, layer int) bool {
	return c.mode(step, layer) == config.Predicted && !step.Exact
}

// mode is how a layer decides what it computes.
func (c *TransferCoordinator) mode(step Step, layer int) config.Mode {
	if step.Decode {
		return c.policy.Modes[layer]
	}
	return c.policy.Prompts[layer]
}

// Close waits for all reads, after which nothing is pinned.
func (c *TransferCoordinator) Close() {
	c.work.end()
	c.overlap.finish()
	c.fetcher.settle()
}
