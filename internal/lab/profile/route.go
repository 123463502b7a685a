package profile

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// expertTokens is how much of a text is decoded where nobody says: experts are told of
// one token at a time, and some hundred say how they are used.
const expertTokens = 256

// Mixture reports whether the model is a mixture of experts, whose profile Experts
// makes in place of Do.
func (r *Run) Mixture() bool { return r.model.Experts() > 0 }

// Experts decodes the text, whatever tokens are likely, and says which experts it
// used. It holds the process's heap to the budget.
func (r *Run) Experts(ctx context.Context, c convert.Options) (*ExpertReport, error) {
	memory.LimitHeapToConvert()
	p, err := convert.Open(ctx, r.src, r.s.CacheDir, c)
	if err != nil {
		return nil, err
	}
	t, err := r.route(ctx, p, c.Progress)
	if err != nil {
		return nil, err
	}
	return AnalyseExperts(t)
}

// route decodes the text by the model of p, which it closes.
func (r *Run) route(ctx context.Context, p *pack.Pack, progress func(what string, done, total int64)) (*trace.Trace, error) {
	rec, err := trace.NewRecorder(trace.InfoOf(p, r.s.Model, r.Text))
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	told := 0
	e, err := engine.Open(ctx, p, engine.Options{
		Strategy: r.s.Strategy,
		Progress: func(done, total int64) { progress("loading", done, total) },
		Planned: func(place *placement.Placement) {
			memory.LimitHeap(place.Process.BudgetBytes, place.MemoryBytes)
			memory.GrowHeap(r.heap)
		},
		// The engine calls it while Run waits for it.
		Wanted: func(layer int, ids []int32) {
			rec.Want(layer, ids)
			if n := rec.Steps(); n > told {
				told = n
				progress("profiling", r.bytes*int64(n)/int64(len(r.ids)), r.bytes)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(r.ids) && err == nil; at += r.window {
		err = r.decode(ctx, e, r.ids[at:min(at+r.window, len(r.ids))])
	}
	if err := errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	return rec.Trace()
}

// decode has the engine decode ids. What is forced last is never computed.
func (r *Run) decode(ctx context.Context, e *engine.Engine, ids []int32) error {
	prompt, force := ids[:1], append(ids[1:len(ids):len(ids)], ids[0])
	if bos := r.model.BOS; bos >= 0 {
		prompt, force = []int32{bos}, append(ids[:len(ids):len(ids)], ids[0])
	}
	_, err := e.Run(ctx, engine.Request{IDs: prompt, Force: force, MaxTokens: len(force), IgnoreEOS: true})
	return err
}

// routeBytes is the memory that which experts tokens tokens use takes, with what
// growing it takes.
func routeBytes(p config.ModelProfile, tokens int) (n int64) {
	for l := range p.Layers {
		n += 4*int64(p.MoE(l).TopK) + 8
	}
	return 4 * n * int64(tokens)
}
