// Package calibrate learns from a text how far a model's sketch is to be
// trusted, and what each degree of trust costs.
//
// It needs no training. The model runs exactly over the first part of the
// text; for every neuron a line is fitted from the sketch's score to the true
// pre-activation, with the deviation of what is left (predict.Moments). Then
// the rest of the text, which the fit has not seen, is evaluated at a row of
// thresholds from careful to careless: these are the operating points that
// --quality chooses among.
//
// Memory: the inputs of all layers for the fit, [layers, tokens, d] f32, at
// most maxInputBytes; the moments, 16 bytes a neuron; and one block of neurons'
// pre-activations.
package calibrate

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/quality"
)

const (
	fitTokens     = 4088      // most tokens of the fit
	leastFit      = 256       // fewer say nothing about rare neurons
	maxInputBytes = 256 << 20 // of the fit's inputs
	// A point is evaluated on as many tokens as the work of all points allows,
	// some twenty minutes of two processors, within these bounds.
	pointWork   = 1e14 // multiplications and additions
	pointTokens = 2044
	leastPoint  = 512
)

// Options is how a model is calibrated.
type Options struct {
	// Open opens the model with what it is given over its own options: the
	// observers or the calibration. The strategy's mode is the given one.
	Open func(ctx context.Context, exact bool, o engine.Options) (*engine.Engine, error)
	// IDs is the text, without special tokens, and Text what it is called.
	IDs  []int32
	Text string
	// Progress, if not nil, is told what is done, out of a total.
	Progress func(what string, done, total int64)
	// Notify, if not nil, is told how long it will take.
	Notify func(string)
}

// Calibrate calibrates a model.
func Calibrate(ctx context.Context, o Options) (*predict.Calibration, error) {
	c := &calibrator{Options: o}
	if err := c.collect(ctx); err != nil {
		return nil, err
	}
	if err := c.fit(ctx); err != nil {
		return nil, err
	}
	return &c.out, c.points(ctx)
}

type calibrator struct {
	Options
	inputs [][]float32 // [layers][fit tokens, d]
	used   int         // tokens of the text that the fit has seen
	params float64     // of the model
	pace   float64     // seconds that a token took to collect
	energy float64     // mean energy of an active neuron: see typicalEnergy
	out    predict.Calibration
}

func (c *calibrator) progress(what string, done, total int) {
	if c.Progress != nil {
		c.Progress(what, int64(done), int64(total))
	}
}

// collect runs the text's beginning through the exact model and keeps every
// layer's inputs.
func (c *calibrator) collect(ctx context.Context) error {
	e, err := c.Open(ctx, true, engine.Options{ObserveInput: func(layer int, _, x device.Act) {
		for t := range x.Rows {
			c.inputs[layer] = append(c.inputs[layer], x.Row(t)...)
		}
	}})
	if err != nil {
		return err
	}
	defer e.Close()
	p := e.Profile()
	if !p.Sparse() {
		return fmt.Errorf("calibrate: got a model with activation %s, want relu: no neuron is ever silent", p.Activation)
	}
	n := min(fitTokens, maxInputBytes/(4*p.Layers*p.HiddenSize), len(c.IDs)/2)
	if n < leastFit {
		return fmt.Errorf("calibrate: text: got %d tokens, want at least %d", len(c.IDs), 2*leastFit)
	}
	c.inputs = make([][]float32, p.Layers)
	d := float64(p.HiddenSize)
	c.params = float64(p.Layers)*d*(4*d+2*float64(p.FFN)) + float64(p.VocabSize)*float64(p.EmbedDim)
	begin := time.Now()
	window := min(e.Placement().Context-1, n)
	for c.used < n {
		c.progress("running the model", c.used, n)
		m := min(window, n-c.used)
		ids := append([]int32{p.BOS}, c.IDs[c.used:c.used+m]...)
		if _, err := e.Run(ctx, engine.Request{IDs: ids}); err != nil {
			return err
		}
		c.used += m
	}
	c.pace = time.Since(begin).Seconds() / float64(c.used)
	return nil
}

// points evaluates the calibration at thresholds from careful to careless.
func (c *calibrator) points(ctx context.Context) error {
	grid := thresholds(c.energy)
	n := int(pointWork / (2 * c.params * float64(len(grid))))
	n = min(max(n, leastPoint), pointTokens, len(c.IDs)-c.used)
	ids := c.IDs[c.used : c.used+n]
	c.out.Text, c.out.Tokens = c.Text, c.used+n
	if took := time.Duration(c.pace * float64(n*len(grid)) * float64(time.Second)); took > time.Minute && c.Notify != nil {
		c.Notify(fmt.Sprintf("measuring %d points on %d tokens each takes about %v", len(grid), n, took.Round(time.Minute)))
	}
	var exact quality.ExactPass
	for i, least := range grid {
		c.progress("measuring quality", i, len(grid))
		point := predict.Point{MinEnergy: least}
		try := c.out
		try.Points = []predict.Point{point}
		e, err := c.Open(ctx, false, engine.Options{Calibration: &try})
		if err != nil {
			return err
		}
		r, err := quality.Evaluate(ctx, e, ids, quality.Options{Exact: &exact})
		if closeErr := e.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		point.PPLChange, point.KL = r.Change(), r.KL
		point.Recall, point.RecallWeighted = r.All.Recall(), r.All.RecallWeighted()
		point.MLPError = r.All.OutputError()
		point.Active, point.Computed = r.All.ActiveShare(), r.All.ComputedShare()
		if bad := point.PPLChange; math.IsNaN(bad) || math.IsInf(bad, 0) {
			return fmt.Errorf("calibrate: perplexity: got a change of %v, want a finite one: the model's weights are damaged", bad)
		}
		c.out.Points = append(c.out.Points, point)
		if point.Cost() > worstChange {
			break // nobody will ask for what lies beyond
		}
	}
	return nil
}

// worstChange ends the curve: 5 % is ten times what is allowed by default.
const worstChange = 0.05

// thresholds are the points' energies, as shares of a typical active neuron's.
func thresholds(typical float64) []float64 {
	var grid []float64
	for share := 1.0 / 2048; share < 1.0/8; share *= math.Sqrt2 {
		grid = append(grid, share*typical)
	}
	return grid
}
