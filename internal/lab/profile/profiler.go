package profile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Check reports why a model cannot be profiled, nil if it can.
func Check(p config.ModelProfile) error {
	if !p.Sparse() {
		return fmt.Errorf("profile: got a model with activation %s, want relu, fatrelu or drelu: no neuron of another is exactly zero, so there is nothing to count", p.Activation)
	}
	return nil
}

// Profiler is an open model whose activations are recorded. Close it.
type Profiler struct {
	engine *engine.Engine
	rec    *recorder // of the Record call under way
}

// Open opens the model of p, which it closes together with the profiler or on
// an error. The strategy's mode must be one that computes every neuron.
func Open(ctx context.Context, p *pack.Pack, o engine.Options) (*Profiler, error) {
	err := Check(p.Profile())
	if m := o.Strategy.Mode; err == nil && m != config.Dense && m != config.Gate {
		err = fmt.Errorf("profile: mode: got %s, want dense or gate, which compute every neuron", m)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	pr := &Profiler{}
	// The engine calls these while Record waits for it, and at no other time.
	o.ObserveInput = func(layer int, ahead, exact device.Act) { pr.rec.input(layer, ahead, exact) }
	o.Observe = func(layer, tokens int, w device.Work, h []float32) { pr.rec.neurons(layer, tokens, w.IDs, h) }
	if pr.engine, err = engine.Open(ctx, p, o); err != nil {
		return nil, err
	}
	return pr, nil
}

// Close gives the model's memory back. Recordings remain.
func (p *Profiler) Close() error { return p.engine.Close() }

// Input is a text to record.
type Input struct {
	IDs    []int32 // without a begin-of-text token
	Window int     // tokens of the text in one run of the model; see Window
	// KeepBytes limits the memory for the sets of active neurons; the first
	// tokens' are kept.
	KeepBytes int64
	// Progress, if not nil, is told of work done out of a total.
	Progress func(done, total int64)
}

// Window is how many tokens of a text of tokens tokens a window has: all that
// the context has room for.
func Window(p config.ModelProfile, context, tokens int) int {
	if p.BOS >= 0 {
		context--
	}
	return min(context, tokens)
}

// Record runs the model over a text.
func (p *Profiler) Record(ctx context.Context, in Input) (*Recording, error) {
	profile := p.engine.Profile()
	if in.Window < 1 || len(in.IDs) < in.Window {
		return nil, fmt.Errorf("profile: text: got %d tokens, want at least one window of %d", len(in.IDs), max(in.Window, 1))
	}
	p.rec = newRecorder(profile, len(in.IDs), in)
	defer func() { p.rec = nil }()
	ids := make([]int32, 0, in.Window)
	for at := 0; at < len(in.IDs); at += in.Window {
		ids = append(ids[:0], in.IDs[at:min(at+in.Window, len(in.IDs))]...)
		if profile.BOS >= 0 {
			ids = slices.Insert(ids[:len(ids)-1], 0, profile.BOS)
		}
		if _, err := p.engine.Run(ctx, engine.Request{IDs: ids}); err != nil {
			return nil, err
		}
	}
	return p.rec.out, nil
}

// DefaultTokens is how much of a text to profile where nobody says: 16,384
// tokens, but of a large model only as many as take some minutes, at least 512.
func DefaultTokens(p config.ModelProfile) int {
	const most, least = 16384, 512
	const products = 4 << 40 // a minute at 150 GFLOP/s
	d := int64(p.HiddenSize)
	matrices := int64(p.Layers) * (d*(2*d+2*int64(p.KVDim())) + int64(p.NeuronParts)*d*int64(p.FFN))
	return int(min(max(products/matrices, least), most))
}
