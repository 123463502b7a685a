package engine

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// sketch makes the predictors of the layers that are predicted: sketches, but
// where the calibration found something better.
func (e *Engine) sketch(o Options, l *model.Loader, w *model.Weights) (predict.ActivationPredictor, float64, error) {
	p := &predict.Sketch{Backend: e.backend, Layers: make([]device.SketchMat, e.profile.Layers)}
	for i, here := range e.place.Predicted {
		if !here || o.Calibration != nil && o.Calibration.Layers[i].Kind != predict.KindSketch {
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
		multiple := float64(predict.SilentMultiple) // nothing is known of any neuron
		if o.Multiple > 0 {
			multiple = max(o.Multiple, 1)
		}
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
	e.point = &point
	for _, l := range point.Layers {
		e.drift.calibrated = append(e.drift.calibrated, l.MLPError)
	}
	all := mixed{sketch: p, factors: make([]lowrank.Layer, e.profile.Layers)}
	silent := &predict.Silent{ActivationPredictor: &all, IDs: make([][]int32, e.profile.Layers)}
	for l, here := range e.place.Predicted {
		if !here {
			continue
		}
		lc := &c.Layers[l]
		for i := range e.profile.FFN {
			if lc.IsSilent(i) {
				silent.IDs[l] = append(silent.IDs[l], int32(i))
			}
		}
		bars := e.memory.Floats(e.profile.FFN) // the biases that hold the bars
		lc.Bias(bars, point.LayerEnergy(l))
		if lc.Kind == predict.KindLowRank {
			all.factors[l] = o.LowRank[l]
			for i, b := range o.LowRank[l].Bias {
				bars[i] += b
			}
			all.factors[l].Bias = bars
			continue
		}
		raw := p.Layers[l].Bias
		p.Layers[l].Bias = bars
		loader.After(l, func() { scale(p.Layers[l], lc, raw) })
	}
	all.lowrank = lowrank.NewPredictor(e.backend, all.factors)
	return silent
}

// scale multiplies the scales of a layer's sketch by the slopes of its
// calibration. Silent neurons of the pack's own sketch keep their scales and
// their biases raw; codes of the layer's own mean nothing without slopes.
func scale(m device.SketchMat, c *predict.LayerCalibration, raw []float32) {
	for i, slope := range c.Slope {
		switch {
		case c.Codes.Bits > 0 || !c.IsSilent(i):
			m.Scales[i] *= slope
		case raw != nil:
			m.Bias[i] = raw[i]
		default:
			m.Bias[i] = 0
		}
	}
}

func (e *Engine) notice(format string, args ...any) {
	e.place.Notices = append(e.place.Notices, fmt.Sprintf(format, args...))
}

// mixed predicts some layers by factors and the others by sketches.
type mixed struct {
	sketch  *predict.Sketch
	lowrank *lowrank.Predictor
	factors []lowrank.Layer // [layers], empty where the sketch predicts
}

// Scores asks the layer's predictor.
func (m *mixed) Scores(layer, tokens int, x, scores []float32) error {
	if !m.factors[layer].Empty() {
		return m.lowrank.Scores(layer, tokens, x, scores)
	}
	return m.sketch.Scores(layer, tokens, x, scores)
}
