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
// A model is "tiny" (embedded, for trying things out), a Hugging Face
// checkpoint directory, a .sflow pack, or org/name from the Hugging Face hub
// cache. A checkpoint is converted to a pack once, into the cache directory.
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
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/internal/token"
)

// What a model is and what is to be done with it.
type (
	// SparseFlowConfig is a model's profile and a strategy.
	SparseFlowConfig = config.SparseFlowConfig
	// ModelProfile is what a model is: sizes, and the quirks of its family.
	ModelProfile = config.ModelProfile
	// OffloadStrategy is what is to be done with a model.
	OffloadStrategy = config.OffloadStrategy
	// Budget limits fast memory, as a share of the weights or in bytes.
	Budget = config.Budget
	// Mode says which neurons are computed.
	Mode = config.Mode
	// IOMode says how the pack is read.
	IOMode = config.IOMode
	// DType is an element type, such as that of the KV cache.
	DType = tensor.DType
)

// The modes.
const (
	Auto      = config.Auto
	Dense     = config.Dense
	Gate      = config.Gate
	Predicted = config.Predicted
)

// The ways to read a pack.
const (
	IODirect = config.IODirect
	IOMmap   = config.IOMmap
)

// The element types of the KV cache. Q8_0 needs a head dim that is a multiple
// of 32.
const (
	F32  = tensor.F32
	F16  = tensor.F16
	Q8_0 = tensor.Q8_0
)

// Parts that a caller can replace.
type (
	// ActivationPredictor scores the neurons of a layer; above zero means
	// "expected active".
	ActivationPredictor = predict.ActivationPredictor
	// EvictionPolicy decides which neuron of a layer gives way to a missing
	// one.
	EvictionPolicy = cache.EvictionPolicy
)

// SimDisk is a simulated disk, for measuring what another machine's would give.
type SimDisk = disk.SimSpec

// ParseSimDisk reads a simulated disk such as "57kiops,0.95GB/s,100us".
func ParseSimDisk(s string) (SimDisk, error) { return disk.ParseSim(s) }

// BudgetError is the error of a budget below the smallest that works.
type BudgetError = placement.BudgetError

// FromTransformersConfig reads a Hugging Face config.json and joins it with a
// strategy.
func FromTransformersConfig(hf []byte, s OffloadStrategy) (SparseFlowConfig, error) {
	return config.FromTransformersConfig(hf, s)
}

// DefaultStrategy is eviction of the neuron least worth a slot and reads beside attention,
// in all the memory that is sensible.
func DefaultStrategy() OffloadStrategy { return config.DefaultStrategy() }

// Ratio is a GPUCacheRatio of r.
func Ratio(r float64) *float64 { return config.Ratio(r) }

// ParseBudget reads "58%" or a size such as "4GiB".
func ParseBudget(s string) (Budget, error) { return config.ParseBudget(s) }

// Option is a choice made when a model is opened.
type Option func(*options)

type options struct {
	engine   engine.Options
	profile  *ModelProfile
	cacheDir string
	notices  []string // of the options themselves
	text     bool     // the caller will hand over text
	notify   func(string)
	progress func(what string, done, total int64)
}

// WithStrategy sets the strategy; without it DefaultStrategy is used.
func WithStrategy(s OffloadStrategy) Option {
	return func(o *options) { o.engine.Strategy = s }
}

// WithConfig sets the strategy, and demands that the model is the one that
// the config describes.
func WithConfig(c SparseFlowConfig) Option {
	return func(o *options) { o.engine.Strategy, o.profile = c.Strategy, &c.Profile }
}

// WithPredictor replaces the predictor; mode auto is then predicted. For each neuron that it scores above
// zero, multiple neurons are computed, the highest scores first; 1 computes
// just those. Scores is called with x [tokens, d] and scores [tokens, ffn].
func WithPredictor(p ActivationPredictor, multiple float64) Option {
	return func(o *options) { o.engine.Predictor, o.engine.Multiple = p, multiple }
}

// WithEvictionPolicy replaces the eviction policy: newPolicy is called once
// for each layer, with the number of slots that the layer has.
func WithEvictionPolicy(newPolicy func(layer, slots int) EvictionPolicy) Option {
	return func(o *options) { o.engine.Policy = newPolicy }
}

// WithSimDisk reads the model's neurons from a simulated disk. They come from
// the system's page cache, which is outside the budget.
func WithSimDisk(d SimDisk) Option {
	return func(o *options) {
		o.engine.OpenFile, o.engine.Disk = d.Opener(), d.Speed()
		o.notices = append(o.notices, fmt.Sprintf("the pack is read from a simulated disk of %v", d))
	}
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

// WithNotices reports what a person may want to know, in whole sentences.
func WithNotices(f func(string)) Option {
	return func(o *options) { o.notify = f }
}

// WithPlacement shows what will live where before anything is loaded.
func WithPlacement(f func(*Placement)) Option {
	return func(o *options) { o.engine.Planned = f }
}

// Engine is an open model. Close it.
type Engine struct {
	e     *engine.Engine
	tok   *token.Tokenizer // nil where the model has none that can be used
	noTok error            // why
}

func makeOptions(opts []Option) options {
	o := options{engine: engine.Options{Strategy: DefaultStrategy()}}
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
	tok, noTok := tokenizerOf(src)
	if noTok != nil && o.text {
		return nil, noTok
	}
	var refused *refusedTokenizer
	if errors.As(noTok, &refused) && o.notify != nil {
		o.notify(fmt.Sprintf("the tokenizer cannot be used, so that token ids alone will do: %v", refused.reason))
	}
	p, err := openPack(ctx, src, o)
	if err != nil {
		return nil, err
	}
	known, err := o.finder().Of(src, p)
	known.Use(&o.engine)
	if err == nil {
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	// Nothing of o may outlive engine.Open's interest in it: there may be
	// predictors in it, on the heap, that are not used.
	notify, progress := o.notify, o.progress
	o.engine.Notify = notify
	if progress != nil {
		o.engine.Progress = func(done, total int64) { progress("loading", done, total) }
	}
	o.engine.Fill = true
	e, err := engine.Open(ctx, p, o.engine)
	if err != nil {
		return nil, err
	}
	if notify != nil {
		for _, n := range slices.Concat(o.notices, e.Placement().Notices) {
			notify(n)
		}
	}
	return &Engine{e: e, tok: tok, noTok: noTok}, nil
}

// openPack opens a model's pack, which is made first if the model is a
// checkpoint: unless it is not the model that was meant, or its budget could
// not run it anyway.
func openPack(ctx context.Context, src hub.Source, o options) (*pack.Pack, error) {
	l, err := convert.Layout(src)
	if err != nil {
		return nil, err
	}
	if o.profile != nil {
		if err := sameProfile(*o.profile, l.Profile(), src.Name); err != nil {
			return nil, err
		}
	}
	path, err := convert.KnownPack(ctx, src, o.cacheDir)
	if err != nil {
		return nil, err
	}
	if path == "" { // else engine.Open says so, which knows the pack's sidecar
		known, err := o.finder().Known(src)
		if err != nil {
			return nil, err
		}
		known.Use(&o.engine)
		if _, err := engine.Plan(l, o.engine); err != nil {
			return nil, err
		}
	}
	return convert.Open(ctx, src, o.cacheDir, convert.Options{Notify: o.notify, Progress: o.progress})
}

// sameProfile demands that a config describes the model.
func sameProfile(want, got ModelProfile, model string) error {
	want.Generation, got.Generation = config.Generation{}, config.Generation{} // of another file
	w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)
	if w != g {
		return fmt.Errorf("sparseflow: open %s: got a model of %s, want that of the config, %s", model, g, w)
	}
	return nil
}

// Placement is what lives where. It is not to be changed.
func (e *Engine) Placement() *Placement { return e.e.Placement() }

// Profile is what the model is.
func (e *Engine) Profile() ModelProfile { return e.e.Profile() }

// BundleBytes is what one neuron takes in the pack.
func (e *Engine) BundleBytes() int64 { return e.e.Pack().BundleStride() }

// Close ends all requests and gives the memory back.
func (e *Engine) Close() error { return e.e.Close() }
