package engine

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// preloadTokens is how many tokens of a prompt would want, at least once, what
// is loaded before there is one. Neurons seldomer than that come when they are
// wanted: loading a whole large cache first would only put off the first token.
// On q8_0 at OPT-6.7B's size 64 put it off by 2 s of 9, for a hundred tokens that
// took as long in all.
const preloadTokens = 12

// hot is the neurons of each layer that are loaded before there is a prompt, the
// hottest first: as many as a profile says will be wanted, and have slots. Where
// every neuron is computed none is hotter than another.
func (e *Engine) hot(o Options) [][]int32 {
	if o.Counts == nil || e.place.Mode != config.Predicted {
		return nil
	}
	hot := make([][]int32, e.profile.Layers)
	for l, slots := range e.place.Slots {
		if !e.place.Predicted[l] {
			continue
		}
		ids, counts := o.Counts.Hottest(l), o.Counts.Neurons[l]
		n := 0
		for n < slots && int(counts[ids[n]])*preloadTokens >= max(o.Counts.Tokens, 1) {
			n++
		}
		hot[l] = ids[:n]
	}
	return hot
}

// prepare has the memory made ready that is about to be written: what is left of
// it, for matrices and predictors, and each layer's first slots, for hot neurons;
// all slots where the first token fills them.
func (e *Engine) prepare(slots device.Slots, hot [][]int32) {
	parts := [][]byte{e.memory.Rest()}
	first := 0
	for l, n := range e.place.Slots {
		fill := n
		if e.place.Mode == config.Predicted {
			fill = 0
			if hot != nil {
				fill = len(hot[l])
			}
		}
		parts = append(parts, slots.Data[int64(first)*slots.Stride:][:int64(fill)*slots.Stride])
		first += n
	}
	e.memory.Prepare(parts...)
}

// preload fills slots with hot neurons.
func (e *Engine) preload(ctx context.Context, o Options, hot [][]int32) error {
	done, total := e.place.LoadBytes, e.place.LoadBytes
	for _, ids := range hot {
		total += int64(len(ids)) * e.pack.BundleStride()
	}
	for l, ids := range hot {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.coordinator.Preload(l, ids); err != nil {
			return err
		}
		done += int64(len(ids)) * e.pack.BundleStride()
		if o.Progress != nil {
			o.Progress(done, total)
		}
	}
	return nil
}
