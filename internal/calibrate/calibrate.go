// Package calibrate learns from a text which neurons a model's predictors may
// be trusted to find, and what each degree of trust costs.
//
// The model runs exactly over the first part of the text. For every neuron a
// line is fitted from the sketch's score to the true pre-activation, with the
// deviation of what is left (predict.Moments). The same is done for sketches of
// fewer bits whose rounding knows the inputs (rounding.go) and, where they could
// cost less than the sketch, for factors of low rank in closed form (closed.go).
// Each layer takes what costs least for the same loss: see choose. Then the rest
// of the text, which nothing has learned from, is evaluated. With
// predict.FloorPerplexity that is done at a row of thresholds from careful to
// careless, the operating points that --quality chooses among. With
// predict.FloorRecall it is done at the one point that holds it in every layer.
//
// Memory: one layer's inputs, [tokens, d] f32, and what fits it (needs.go says
// how much, before any work); the inputs of all layers are in a file.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// Options is how a model is calibrated.
type Options struct {
	// Layout and Path are the model's pack.
	Layout *pack.Layout
	Path   string
	// Context is the longest text that the opened model takes, and Threads how
	// many compute.
	Context, Threads int
	// Open opens the model with what it is given over its own options: the
	// observers or the calibration. The strategy's mode is the given one, and
	// its budget is to leave reserve bytes to the caller.
	Open func(ctx context.Context, exact bool, reserve int64, o engine.Options) (*engine.Engine, error)
	// IDs is the text, without special tokens, and Text what it is called.
	IDs  []int32
	Text string
	// Floor is what the points are to hold; empty: recall for a model with
	// synthetic weights, else perplexity.
	Floor predict.Floor
	// Predictor is sketch or lowrank, for every layer; empty: what costs least.
	Predictor string
	// Bits is the width of every sketch: 4, the pack's, or 3, codes of the
	// layer's own; 0: what costs least, with codes only where rounding them is
	// no more than mostRounding work.
	Bits int
	// Rank is that of all factors: 16 times a power of two; 0: what costs least.
	Rank int
	Seed uint64
	// Dir is where a large file may lie meanwhile.
	Dir string
	// HeapBytes is the most memory that may be used beside the open model; 0:
	// mostHeapBytes.
	HeapBytes int64
	// Progress, if not nil, is told what is done, out of a total.
	Progress func(what string, done, total int64)
	// Notify, if not nil, is told what is about to be done and how long it will
	// take.
	Notify func(string)
}

// Result is a calibration, and the factors that it uses.
type Result struct {
	Calibration *predict.Calibration
	Factors     []lowrank.Layer // [layers]
	Counts      *cache.Counts   // how often each neuron fired
}

// Check is the error that Calibrate would return before any work: of a model, a
// text or memory that it cannot learn with. Paths are not looked at.
func Check(o Options) error {
	o.Notify = nil
	return newCalibrator(o).check()
}

func newCalibrator(o Options) *calibrator {
	if o.HeapBytes == 0 {
		o.HeapBytes = mostHeapBytes
	}
	return &calibrator{Options: o, profile: o.Layout.Profile()}
}

// Calibrate calibrates a model.
func Calibrate(ctx context.Context, o Options) (r Result, err error) {
	c := newCalibrator(o)
	if err := c.check(); err != nil {
		return Result{}, err
	}
	c.notify("%v", c.need)
	if err := c.learn(ctx); err != nil {
		return Result{}, err
	}
	return Result{&c.out, c.factors, c.counts}, c.points(ctx)
}

type calibrator struct {
	Options
	profile config.ModelProfile
	need    needs
	inputs  *inputs
	used    int             // tokens of the text that the fit has seen
	pace    float64         // seconds that a token took to collect
	energy  float64         // mean energy of an active neuron, in all layers
	layers  []float64       // [layers] the same of each layer
	bars    []float64       // [layers] see fitted
	factors []lowrank.Layer // [layers], empty where others predict
	counts  *cache.Counts
	out     predict.Calibration
}

func (c *calibrator) progress(what string, done, total int) {
	if c.Progress != nil {
		c.Progress(what, int64(done), int64(total))
	}
}

func (c *calibrator) notify(format string, args ...any) {
	if c.Notify != nil {
		c.Notify(fmt.Sprintf(format, args...))
	}
}

// check decides what there is to do.
func (c *calibrator) check() (err error) {
	p := c.profile
	c.out.DType = c.Layout.MLPDType().String()
	c.counts = cache.NewCounts(p.Layers, p.FFN)
	if !p.Sparse() {
		return fmt.Errorf("calibrate: got a model with activation %s, want relu, fatrelu or drelu: no neuron is ever silent", p.Activation)
	}
	if c.out.Floor = c.Floor; c.Floor == "" {
		c.out.Floor = predict.FloorPerplexity
		if p.Synthetic {
			c.out.Floor = predict.FloorRecall
		}
	}
	if least := max(2*leastFit, c.Context-1); len(c.IDs) < least {
		return fmt.Errorf("calibrate: text %s: got %d tokens, want at least %d: one window of the context, and enough to fit and measure", c.Text, len(c.IDs), least)
	}
	if b := c.Bits; b != 0 && b != codeBits && b != sketchBits {
		return fmt.Errorf("calibrate: bits: got %d, want %d or %d, or 0 for what costs least", b, codeBits, sketchBits)
	}
	if r := c.Rank; r != 0 && (r < 16 || r&(r-1) != 0) {
		return fmt.Errorf("calibrate: rank: got %d, want 16, 32, 64 ..., or 0 for what costs least", r)
	}
	c.need, err = c.needs()
	return err
}

// learn keeps every layer's inputs in a file for as long as it fits them.
func (c *calibrator) learn(ctx context.Context) (err error) {
	rows := c.need.tokens + (c.need.tokens+c.window()-1)/c.window() // each window begins with a special token
	if c.inputs, err = newInputs(c.Dir, c.profile.Layers, c.profile.HiddenSize, rows); err != nil {
		return err
	}
	if err = c.collect(ctx); err == nil {
		err = c.fit(ctx)
	}
	return errors.Join(err, c.inputs.close())
}

func (c *calibrator) window() int { return min(c.Context-1, c.need.tokens) }

// collect runs the text's beginning through the exact model and keeps every
// layer's inputs.
func (c *calibrator) collect(ctx context.Context) error {
	e, err := c.Open(ctx, true, 0, engine.Options{
		ObserveInput: func(layer int, _, x device.Act) { c.inputs.add(layer, x) },
		Observe:      func(layer, tokens int, w device.Work, h []float32) { c.counts.Observe(layer, tokens, w.IDs, h) },
	})
	if err != nil {
		return err
	}
	begin := time.Now()
	for n := c.need.tokens; c.used < n && err == nil; {
		c.progress("running the model", c.used, n)
		m := min(c.window(), n-c.used)
		ids := slices.Clone(c.IDs[c.used : c.used+m])
		if bos := c.profile.BOS; bos >= 0 {
			ids = slices.Insert(ids, 0, bos)
		}
		_, err = e.Run(ctx, engine.Request{IDs: ids})
		c.used += m
		c.counts.Tokens += len(ids)
	}
	c.pace = time.Since(begin).Seconds() / float64(max(1, c.used))
	return errors.Join(err, e.Close())
}
