package engine

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/config"
)

// preloadTokens is how many tokens of a prompt would want, at least once, what
// is loaded before there is one. Neurons seldomer than that come when they are
// wanted: loading a whole large cache first would only put off the first token.
const preloadTokens = 64

// preload fills slots with the neurons that a profile calls hot. Where every
// neuron is computed none is hotter than another.
func (e *Engine) preload(ctx context.Context, o Options) error {
	if o.Counts == nil || e.place.Mode != config.Predicted {
		return nil
	}
	warm := make([][]int32, e.profile.Layers)
	done, total := e.place.LoadBytes, e.place.LoadBytes
	for l, slots := range e.place.Slots {
		if !e.place.Predicted[l] {
			continue
		}
		hot, counts := o.Counts.Hottest(l), o.Counts.Neurons[l]
		n := 0
		for n < slots && int(counts[hot[n]])*preloadTokens >= max(o.Counts.Tokens, 1) {
			n++
		}
		warm[l] = hot[:n]
		total += int64(n) * e.pack.BundleStride()
	}
	for l, ids := range warm {
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
