package transfer

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

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
	free, most := f.Cache.Free(p.layer), max(1, f.Activations/p.tokens)
	if f.experts != nil {
		free, most = w.sure(free), len(want.IDs)
	}
	f.segment(&w.plan, free, most)
	c.overlap.add(w.start)
}

// Close waits for all reads, after which nothing is pinned.
func (c *TransferCoordinator) Close() {
	c.work.end()
	c.overlap.finish()
	c.fetcher.settle()
}
