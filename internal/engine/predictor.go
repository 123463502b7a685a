package engine

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// sketchMultiple is how many neurons are computed for each that the sketch
// takes for active, as long as a model is not calibrated.
const sketchMultiple = 2

// sketch makes the predictors of the layers that have room for one: sketches,
// but where the calibration found something better.
func (e *Engine) sketch(o Options, l *model.Loader, w *model.Weights) (predict.ActivationPredictor, float64, error) {
	p := &predict.Sketch{Backend: e.backend, Layers: make([]device.SketchMat, e.profile.Layers)}
	for i, here := range e.place.Predicted {
		if !here || o.Calibration != nil && (o.Calibration.Layers[i].Dead || o.Calibration.Layers[i].Kind != predict.KindSketch) {
			continue
		}
		if o.Calibration != nil && o.Calibration.Layers[i].Codes.Bits > 0 {
			p.Layers[i] = e.ownCodes(o.Calibration.Layers[i].Codes)
			continue
		}
		m, err := l.Sketch(i, w.Layers[i].UpBias)
		if err != nil {
			return nil, 0, err
		}
		p.Layers[i] = m
	}
	if o.Calibration == nil {
		multiple := float64(sketchMultiple)
		if o.Multiple > 0 {
			multiple = max(o.Multiple, 1)
		}
		e.guards = newGuards(nil, nil, e.profile.Layers)
		return p, multiple, nil
	}
	return e.calibrated(o, l, p), 1, nil
}

// ownCodes is a sketch of a layer's own codes. They stay on the heap, where the
// sidecar was read to; their scales are to be multiplied by the calibration's
// slopes.
func (e *Engine) ownCodes(c predict.Codes) device.SketchMat {
	m := device.SketchMat{Codes: c.Rows, Bits: c.Bits, RowBytes: len(c.Rows) / e.profile.FFN,
		Rows: e.profile.FFN, Cols: e.profile.HiddenSize, Scales: e.memory.Floats(e.profile.FFN)}
	for i := range m.Scales {
		m.Scales[i] = 1
	}
	return m
}

// calibrated sets the predictors to the point of their calibration that the
// quality asked for allows.
func (e *Engine) calibrated(o Options, loader *model.Loader, p *predict.Sketch) predict.ActivationPredictor {
	c := o.Calibration
	allowed := quality(o.Strategy)
	point, ok := c.Choose(allowed)
	switch {
	case ok:
	case c.Floor == predict.FloorRecall:
		e.notice("the calibration has layers with a recall below %v or an output error above %v: using its most careful point", predict.LeastRecall, predict.MostError)
	default:
		e.notice("the calibration has no point within %.3g %% of dense perplexity: using the most careful, at %+.3g %%", 100*allowed, 100*point.Cost())
	}
	e.point, e.holds = &point, ok
	e.guards = newGuards(&point, c, e.profile.Layers)
	all := mixed{sketch: p, byFactors: make([]bool, e.profile.Layers)}
	var factors []lowrank.Layer
	bars := make([][]float32, e.profile.Layers) // the biases that hold the bars
	var biases [][]float32                      // of the factors
	for l, here := range e.place.Predicted {
		lc := &c.Layers[l]
		switch {
		case !here || lc.Dead:
		case lc.Kind == predict.KindLowRank:
			if factors == nil {
				factors, biases = append(factors, o.LowRank...), make([][]float32, e.profile.Layers)
			}
			all.byFactors[l] = true
			biases[l], bars[l] = factors[l].Bias, e.memory.Floats(e.profile.FFN)
			factors[l].Bias = bars[l]
		case lc.Kind == predict.KindSketch:
			bars[l] = e.memory.Floats(e.profile.FFN)
			p.Layers[l].Bias = bars[l]
			loader.After(l, func() {
				for i, slope := range lc.Slope {
					p.Layers[l].Scales[i] *= slope
				}
			})
		}
	}
	e.relax = func(layer int, share, _ float64) {
		if bars[layer] == nil {
			return
		}
		c.Layers[layer].Bias(bars[layer], share*point.LayerEnergy(layer))
		if biases != nil && biases[layer] != nil {
			for i, b := range biases[layer] {
				bars[layer][i] += b
			}
		}
	}
	for l := range bars {
		e.relax(l, 1, 1)
	}
	if factors == nil {
		return p
	}
	all.factors = lowrank.NewPredictor(e.backend, factors)
	return all
}

// gates makes the layers exact that the calibration found cheaper so.
func (e *Engine) gates(c *predict.Calibration) {
	if c == nil || e.point == nil {
		return
	}
	for l := range c.Layers {
		if c.Layers[l].Kind == predict.KindGate && !c.Layers[l].Dead {
			e.setMode(l, config.Gate)
		}
	}
}

// setMode sets a layer's mode, for prompts too unless they have one of their own.
func (e *Engine) setMode(layer int, m config.Mode) {
	if e.prompts[layer] == e.modes[layer] {
		e.prompts[layer] = m
	}
	e.modes[layer] = m
}

func (e *Engine) notice(format string, args ...any) {
	e.place.Notices = append(e.place.Notices, fmt.Sprintf(format, args...))
}

// mixed predicts some layers by factors and the others by sketches.
type mixed struct {
	sketch    *predict.Sketch
	factors   *lowrank.Predictor
	byFactors []bool // [layers]
}

// Scores asks the layer's predictor.
func (m mixed) Scores(layer, tokens int, x, scores []float32) error {
	if m.byFactors[layer] {
		return m.factors.Scores(layer, tokens, x, scores)
	}
	return m.sketch.Scores(layer, tokens, x, scores)
}
