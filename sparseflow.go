// Package sparseflow runs large language models that do not fit in fast
// memory.
//
// ReLU models fire 2 to 10 % of their MLP neurons for a token. SparseFlow
// predicts which, keeps the hot ones in fast memory in a cache of single
// neurons, and reads only the missing ones, while attention computes, from a
// file that stores each neuron in one piece.
//
//	eng, err := sparseflow.Open(ctx, "facebook/opt-6.7b",
//		sparseflow.WithStrategy(sparseflow.OffloadStrategy{
//			Budget:         sparseflow.Budget{Share: 0.58},
//			UseLRUEviction: true,
//			AsyncTransfer:  true,
//		}))
//	defer eng.Close()
//	res, err := eng.Generate(ctx, sparseflow.Request{Prompt: "Once upon a time", MaxTokens: 64})
//
// A model is "tiny" (embedded, for trying things out), a GGUF file, a Hugging Face
// checkpoint directory, a .sflow pack, or org/name or org/name:QUANT from the
// Hugging Face hub cache. It is used where it lies, unless its neurons can be left
// out one by one: then it is converted to a pack once, into the cache directory.
//
// # What is exact
//
// In the modes Dense and Gate the output is that of the full model, whatever
// the budget: the same logits bit for bit. In mode Predicted neurons that the
// predictor does not ask for are left out; how much that changes depends on the
// model and the predictor. Mode Auto, the default, is Predicted where the model's
// sidecar says that this holds the quality asked for, and in large models
// without a sidecar; else it is Gate. Whatever the mode, output depends on the
// model, its sidecar, the options that name a computation and the request, and
// on nothing that ran before.
//
// # Swapping parts
//
// WithPredictor and WithEvictionPolicy put a caller's own ActivationPredictor
// or EvictionPolicy in the place of the built-in ones; nothing else has to
// change.
//
// # Caveats
//
// A budget of bytes is planned for a process that does nothing else: memory
// that the caller's own code takes comes on top. An Engine may be used from
// several goroutines; their requests share the model's steps.
package sparseflow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// ActivationPredictor scores the neurons of a layer; above zero means "expected
// active".
type ActivationPredictor interface {
	// Scores sets scores [tokens, ffn] from x [tokens, d], the input of the
	// layer's MLP or a forecast of it. It is called from one goroutine.
	Scores(layer, tokens int, x, scores []float32) error
}

// EvictionPolicy decides which slot of one layer gives way to a missing neuron.
// Slots are numbered 0 to n-1 within the layer. It is called from one goroutine.
type EvictionPolicy interface {
	// Insert says that a neuron was placed in slot.
	Insert(slot, neuron int)
	// Hit says that the neuron in slot was used.
	Hit(slot int)
	// Victim is the slot to empty, one for which evictable is true (the
	// others are in use), or -1 to keep them all. Unless it is -1, an Insert
	// into that slot follows.
	Victim(evictable func(slot int) bool) int
}

// Option is a choice made when a model is opened.
type Option func(*options)

type options struct {
	engine   engine.Options
	profile  *ModelProfile
	cacheDir string
	notices  []string   // of the options themselves
	text     bool       // the caller will hand over text
	tok      *Tokenizer // that the caller has read
	notify   func(string)
	progress func(what string, done, total int64)
	placed   func(*Placement)
}

// WithStrategy sets the strategy; without it DefaultStrategy is used.
func WithStrategy(s OffloadStrategy) Option {
	return func(o *options) { o.engine.Strategy = s.internal() }
}

// WithConfig sets the strategy, and demands that the model is the one that
// the config describes.
func WithConfig(c SparseFlowConfig) Option {
	return func(o *options) { o.engine.Strategy, o.profile = c.Strategy.internal(), &c.Profile }
}

// WithPredictor replaces the predictor; mode auto is then predicted. For each
// neuron that it scores above zero, multiple neurons are computed, the highest
// scores first; 1 computes just those.
func WithPredictor(p ActivationPredictor, multiple float64) Option {
	return func(o *options) { o.engine.Predictor, o.engine.Multiple = p, multiple }
}

// WithEvictionPolicy replaces the eviction policy: newPolicy is called once
// for each layer, with the number of slots that the layer has.
func WithEvictionPolicy(newPolicy func(layer, slots int) EvictionPolicy) Option {
	return func(o *options) {
		o.engine.Policy = nil
		if newPolicy != nil {
			o.engine.Policy = func(layer, slots int) cache.EvictionPolicy { return newPolicy(layer, slots) }
		}
	}
}

// WithActiveShares tells Plan which share of each layer's neurons is active at a
// token, as it was measured, for a model of which no profile was stored.
func WithActiveShares(layers []float64) Option {
	return func(o *options) { o.engine.Active = layers }
}

// WithCacheDir sets the directory that converted models are kept in; without
// it that is sparseflow in the user's cache directory.
func WithCacheDir(dir string) Option {
	return func(o *options) { o.cacheDir = dir }
}

// WithProgress reports on long work: what is being done, and how many bytes of
// how many.
func WithProgress(f func(what string, done, total int64)) Option {
	return func(o *options) { o.progress = f }
}

// WithEarlyOpen has Open return as soon as the model can take requests, before all
// of it is loaded: the first request computes the first layers while the last are
// read. What cannot be read is then the error of the request that waits for it,
// and read again for the next one; WithProgress reports from another goroutine,
// until all is loaded or something fails. Where nothing can be gained by it, Open
// loads everything.
func WithEarlyOpen() Option {
	return func(o *options) { o.engine.Early = true }
}

// WithTokenizer has Open fail at once, before anything is converted, if the model
// has no tokenizer that can be used. Without it such a model takes token ids.
func WithTokenizer() Option {
	return func(o *options) { o.text = true }
}

// WithLoadedTokenizer gives Open the model's tokenizer, which LoadTokenizer read
// before: that of a large vocabulary takes a good part of a small model's start.
func WithLoadedTokenizer(t *Tokenizer) Option {
	return func(o *options) { o.tok = t }
}

// WithNotices reports what a person may want to know, in whole sentences.
func WithNotices(f func(string)) Option {
	return func(o *options) { o.notify = f }
}

// WithPlacement shows what will live where before anything is loaded.
func WithPlacement(f func(*Placement)) Option {
	return func(o *options) { o.placed = f }
}

// Engine is an open model. Close it.
type Engine struct {
	e     *engine.Engine
	place *Placement
	tok   *Tokenizer // nil where the model has none that can be used
	noTok error      // why
	ends  []int32    // that the tokenizer's files declare to end a text or turn
}

func makeOptions(opts []Option) options {
	o := options{engine: engine.Options{Strategy: config.DefaultStrategy()}}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Open opens a model: it finds it, converts it if need be, checks that the
// budget is enough, and loads what is resident. A budget that is too small is
// a *BudgetError.
func Open(ctx context.Context, model string, opts ...Option) (*Engine, error) {
	o := makeOptions(opts)
	src, err := hub.FindIn(model, o.cacheDir)
	if err != nil {
		return nil, err
	}
	tok, noTok := o.tok, error(nil)
	if tok == nil {
		tok, noTok = tokenizerOf(src)
	}
	if noTok != nil && o.text {
		return nil, noTok
	}
	var refused *refusedTokenizer
	if errors.As(noTok, &refused) && o.notify != nil {
		o.notify(fmt.Sprintf("the tokenizer cannot be used, so that token ids alone will do: %v", refused.reason))
	}
	p, err := openPack(ctx, src, o)
	if err != nil {
		return nil, withBudget(err)
	}
	known, err := o.finder().Of(src, p)
	known.Use(&o.engine)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	// Nothing of o may outlive engine.Open's interest in it: there may be
	// predictors in it, on the heap, that are not used.
	notify, progress, placed := o.notify, o.progress, o.placed
	o.engine.Notify = notify
	if progress != nil {
		o.engine.Progress = func(done, total int64) { progress("loading", done, total) }
	}
	place := new(Placement)
	o.engine.Planned = func(p *placement.Placement) {
		*place = mirror.To[Placement](*p)
		if placed != nil {
			placed(place)
		}
	}
	o.engine.Fill, o.engine.KeepText = true, true
	if p.Profile().Experts() > 0 {
		o.engine.Used = o.finder().Keeper(p)
	}
	e, err := engine.Open(ctx, p, o.engine)
	if err != nil {
		return nil, withBudget(err)
	}
	place.Notices = e.Placement().Notices // of opening too
	if notify != nil {
		for _, n := range slices.Concat(o.notices, place.Notices) {
			notify(n)
		}
	}
	opened := &Engine{e: e, place: place, tok: tok, noTok: noTok}
	if tok != nil {
		opened.ends = tok.t.Ends()
	}
	return opened, nil
}

// openPack opens a model's pack, which is made first if the model has to be packed:
// unless it is not the model that was meant, or its budget could not run it anyway.
func openPack(ctx context.Context, src hub.Source, o options) (*pack.Pack, error) {
	c := convert.Options{Notify: o.notify, Progress: o.progress}
	p, err := convert.OpenKnown(ctx, src, o.cacheDir, c)
	if err != nil {
		return nil, err
	}
	if p != nil { // engine.Open says whether the budget will do
		if err := o.checkProfile(p.Layout, src); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		return p, nil
	}
	l, err := convert.Layout(src)
	if err == nil {
		err = o.checkProfile(l, src)
	}
	if err != nil {
		return nil, err
	}
	known, err := o.finder().Known(src)
	if err != nil {
		return nil, err
	}
	known.Use(&o.engine)
	if _, err := engine.Plan(l, o.engine); err != nil {
		return nil, err
	}
	return convert.Open(ctx, src, o.cacheDir, c)
}

// checkProfile demands that the model is the one that was meant, if any was.
func (o *options) checkProfile(l *pack.Layout, src hub.Source) error {
	if o.profile == nil {
		return nil
	}
	return sameProfile(o.profile.internal(), l.Profile(), src.Name)
}

// sameProfile demands that a config describes the model.
func sameProfile(want, got config.ModelProfile, model string) error {
	want.Generation, got.Generation = config.Generation{}, config.Generation{} // of another file
	w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)
	if w != g {
		return fmt.Errorf("sparseflow: open %s: got a model of %s, want that of the config, %s", model, g, w)
	}
	return nil
}

// Placement is what lives where. It is not to be changed.
func (e *Engine) Placement() *Placement { return e.place }

// Profile is what the model is.
func (e *Engine) Profile() ModelProfile { return mirror.To[ModelProfile](e.e.Profile()) }

// BundleBytes is what one neuron takes in the pack.
func (e *Engine) BundleBytes() int64 { return e.e.Pack().BundleStride() }

// Close ends all requests and gives the memory back.
func (e *Engine) Close() error { return e.e.Close() }
