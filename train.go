package sparseflow

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/calibrate"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Training is what a model's predictors learn from, and how.
type Training struct {
	// Text is what they learn from, and Name what it is called. A model
	// without tokenizer files learns from drawn token ids; Text is then empty.
	Text, Name string
	// Output is the sidecar; empty: beside the pack or, where that cannot be
	// written to, in the cache directory.
	Output string
	// Floor is what the operating points hold; empty: recall where the weights
	// are synthetic, else perplexity.
	Floor Floor
	// Seed is what random choices start from: the same seed, text and model
	// give the same sidecar.
	Seed uint64
	// Time has no effect: nothing of a training depends on how long it takes.
	//
	// Deprecated: leave it 0.
	Time time.Duration
	// Bits is the width of every sketch, 3 or 4, and Rank that of all low-rank
	// factors; 0: what costs least, layer by layer.
	Bits, Rank int
}

// Train trains and calibrates a model's predictors on a text, and stores what
// it learned in a sidecar, whose path it returns. The strategy's Predictor is
// sketch or lowrank for one kind in every layer, or empty for what costs least.
//
// What can be wrong is checked before any work. A training that ends early
// leaves the predictors in use as they were.
func Train(ctx context.Context, model string, t Training, opts ...Option) (*Calibration, string, error) {
	o := makeOptions(opts)
	src, err := hub.FindIn(model, o.cacheDir)
	if err != nil {
		return nil, "", err
	}
	tr := &trainer{o: o, model: model, src: src, t: t, kind: o.engine.Strategy.Predictor}
	tr.o.engine.Strategy.Mode, tr.o.engine.Strategy.Predictor = config.Predicted, ""
	var r calibrate.Result
	if err = tr.prepare(ctx); err == nil {
		r, err = calibrate.Calibrate(ctx, tr.options())
	}
	if err != nil {
		return nil, "", withBudget(fmt.Errorf("train %s: %w", src.Name, err))
	}
	return mirror.To[*Calibration](r.Calibration), tr.t.Output, tr.store(ctx, r)
}

// trainer is a training.
type trainer struct {
	model   string
	o       options
	src     hub.Source
	t       Training
	kind    string // of predictors; empty: what costs least
	layout  *pack.Layout
	path    string // of the pack
	source  string // SHA-256 of the weights
	context int
	threads int
	ids     []int32
	heap    int64
}

// prepare converts the model if need be, after checking what can be checked
// from headers, and checks the rest.
func (t *trainer) prepare(ctx context.Context) error {
	var err error
	if t.layout, err = convert.Layout(t.src); err != nil {
		return err
	}
	if p := t.layout.Profile(); !p.Sparse() {
		return fmt.Errorf("sparseflow: got a model with activation %s, want relu, fatrelu or drelu: no neuron is ever silent", p.Activation)
	}
	if err := t.tokens(); err != nil {
		return err
	}
	if err := t.place(); err != nil {
		return err
	}
	if err := calibrate.Check(t.options()); err != nil {
		return err
	}
	p, err := openPack(ctx, t.src, t.o)
	if err != nil {
		return err
	}
	t.layout, t.path, t.source = p.Layout, p.Path(), p.SourceSHA256()
	return errors.Join(t.output(ctx), p.Close())
}

// drawnTokens is how many ids are drawn for a model without a tokenizer.
const drawnTokens = 40_000

// tokens sets the ids to learn from.
func (t *trainer) tokens() error {
	p := t.layout
	tok, err := LoadTokenizer(t.model, WithCacheDir(t.o.cacheDir))
	switch {
	case err == nil:
		t.ids = tok.Encode(t.t.Text, false)
	case !errors.Is(err, ErrNoTokenizer) || t.t.Text != "":
		return err
	default:
		t.ids, t.t.Name = sample.DrawTokens(p.Profile().VocabSize, drawnTokens, t.t.Seed|1<<63), "drawn token ids"
	}
	return nil
}

// place sees how much room there is for training.
func (t *trainer) place() error {
	place, err := engine.Plan(t.layout, t.o.engine)
	if err != nil {
		return err
	}
	t.context, t.threads = place.Context, place.Threads
	// While a layer is fitted the model is closed.
	if b := t.o.engine.Strategy.Budget.Bytes; b == 0 {
		t.heap = max(freeHeap, place.Process.BudgetBytes-runtimeShare)
	} else {
		t.heap = b - runtimeShare
		if t.heap <= 0 {
			return &placement.BudgetError{What: "budget of a process that trains", Got: config.FormatSize(b), Minimum: config.FormatSize(runtimeShare + 1), Advice: "raise --budget"}
		}
	}
	return nil
}

// freeHeap is memory that a training may take where no budget is given, however
// small the model.
const freeHeap = 1 << 30

// runtimeShare is the process without a model, and the text's tokens.
const runtimeShare = 40 << 20

// output finds where the sidecar goes, and that it can go there: a file there
// of other weights, or that cannot be replaced, is an error now and not after
// an hour.
func (t *trainer) output(ctx context.Context) error {
	if t.t.Output == "" {
		dir, err := hub.CacheDir(t.o.cacheDir)
		if err != nil {
			return err
		}
		if t.t.Output, err = sidecar.PathFor(t.path, dir, t.source); err != nil {
			return err
		}
	}
	return sidecar.Update(ctx, t.t.Output, t.source, func(*sidecar.Sidecar) *sidecar.Sidecar { return nil })
}

// options is the training as package calibrate takes it.
func (t *trainer) options() calibrate.Options {
	return calibrate.Options{
		Layout: t.layout, Path: t.path, Context: t.context, Threads: t.threads,
		IDs: t.ids, Text: t.t.Name, Floor: predict.Floor(t.t.Floor), Predictor: t.kind, Bits: t.t.Bits, Rank: t.t.Rank, Seed: t.t.Seed,
		Dir: filepath.Dir(t.t.Output), HeapBytes: t.heap,
		Progress: t.o.progress,
		Notify:   t.o.notify,
		Open: func(ctx context.Context, exact bool, reserve int64, eo engine.Options) (*engine.Engine, error) {
			p, err := openPack(ctx, t.src, options{engine: t.o.engine, cacheDir: t.o.cacheDir})
			if err != nil {
				return nil, err
			}
			eo.Strategy = t.o.engine.Strategy
			if exact {
				eo.Strategy.Mode = config.Gate
			}
			if eo.Strategy.Budget.Bytes > 0 {
				eo.Strategy.Budget.Bytes = max(1, eo.Strategy.Budget.Bytes-reserve)
			}
			e, err := engine.Open(ctx, p, eo)
			var small *placement.BudgetError
			if errors.As(err, &small) {
				err = fmt.Errorf("training keeps %s beside the model: %w", config.FormatSize(reserve), err)
			}
			return e, err
		},
	}
}

// store puts what was learned in the place of what was there.
func (t *trainer) store(ctx context.Context, r calibrate.Result) error {
	sec, err := r.Calibration.Section()
	if err != nil {
		return err
	}
	factors, err := lowrank.NewSection(r.Factors)
	if err != nil {
		return err
	}
	counts, err := r.Counts.Section()
	if err != nil {
		return err
	}
	return sidecar.Update(ctx, t.t.Output, t.source, func(s *sidecar.Sidecar) *sidecar.Sidecar {
		s = s.Without(lowrank.PartialName).Without(lowrank.SectionName).With(predict.CalibrationSection, sec)
		if r.Calibration.Uses(predict.KindLowRank) {
			s = s.With(lowrank.SectionName, factors)
		}
		if _, ok := s.Section(cache.CountsSection); !ok { // a profile has seen more
			s = s.With(cache.CountsSection, counts)
		}
		return s
	})
}
