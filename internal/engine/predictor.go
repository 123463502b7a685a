package engine

import (
	"context"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// predictor says which neurons are computed: so many for each that it scores above
// zero.
type predictor struct {
	predict.ActivationPredictor
	multiple float64
}

// predictor finds room for the predictor that o asks for. w has room.
func (m *loaded) predictor(ctx context.Context, o Options, w *model.Weights, slots device.Slots) (p predictor, err error) {
	p.multiple = 1
	switch {
	case m.place.Gates:
		p.ActivationPredictor, err = m.oracle(ctx, w, slots)
	case len(m.predicted()) == 0 || o.Predictor == nil && o.Strategy.Predictor == "all":
		p.ActivationPredictor = predict.All{}
	case o.Predictor != nil:
		p.ActivationPredictor, p.multiple = o.Predictor, max(o.Multiple, 1)
	case o.Strategy.Predictor == "oracle":
		p.ActivationPredictor, err = m.oracle(ctx, w, slots)
	case o.Calibration != nil:
		p.ActivationPredictor, err = m.calibrated(o, w)
	default:
		p.ActivationPredictor, err = m.sketch(w)
		p.multiple = predict.SilentMultiple // nothing is known of any neuron
		if o.Multiple > 0 {
			p.multiple = max(o.Multiple, 1)
		}
	}
	return p, err
}

// predicted is the layers whose neurons a predictor asks for.
func (m *loaded) predicted() (layers []int) {
	for l, here := range m.place.Predicted {
		if here {
			layers = append(layers, l)
		}
	}
	return layers
}

// oracle reads the first parts of all neurons at once, through slots, which are
// still empty.
func (m *loaded) oracle(ctx context.Context, w *model.Weights, slots device.Slots) (*predict.Oracle, error) {
	p := &predict.Oracle{
		Backend: m.backend, Act: m.profile.Activation, Threshold: m.profile.Threshold,
		Layers: make([]device.Mat, m.profile.Layers), Bias: make([][]float32, m.profile.Layers),
	}
	for _, l := range m.predicted() {
		up, err := m.loading.loader.Up(ctx, l, slots)
		if err != nil {
			return nil, err
		}
		p.Layers[l], p.Bias[l] = up, w.Layers[l].FirstBias
	}
	return p, nil
}

// sketch is the sketches that come with the pack, as they are.
func (m *loaded) sketch(w *model.Weights) (*predict.Sketch, error) {
	p := &predict.Sketch{Backend: m.backend, Threshold: m.profile.Threshold, Layers: make([]device.SketchMat, m.profile.Layers)}
	for _, l := range m.predicted() {
		mat, err := m.loading.loader.Sketch(l, w.Layers[l].FirstBias)
		if err != nil {
			return nil, err
		}
		p.Layers[l] = mat
	}
	return p, nil
}

// calibrated is the predictors at the point of their calibration that the quality
// asked for allows: sketches, but where the calibration found something better.
func (m *loaded) calibrated(o Options, w *model.Weights) (predict.ActivationPredictor, error) {
	c, point := o.Calibration, m.choosePoint(o)
	sketch := &predict.Sketch{Backend: m.backend, Layers: make([]device.SketchMat, m.profile.Layers)}
	factors := make([]lowrank.Layer, m.profile.Layers)
	silent := &predict.Silent{IDs: make([][]int32, m.profile.Layers)}
	for _, l := range m.predicted() {
		lc := &c.Layers[l]
		for i := range m.profile.FFN {
			if lc.IsSilent(i) {
				silent.IDs[l] = append(silent.IDs[l], int32(i))
			}
		}
		bars := m.memory.Floats(m.profile.FFN) // the biases that hold the bars
		lc.Bias(bars, point.LayerEnergy(l))
		if lc.Kind == predict.KindLowRank {
			factors[l] = o.LowRank[l]
			for i, b := range o.LowRank[l].Bias {
				bars[i] += b
			}
			factors[l].Bias = bars
			continue
		}
		mat, err := m.codes(lc, l, bars)
		if err != nil {
			return nil, err
		}
		sketch.Layers[l] = mat
		m.loading.loader.After(l, func() { scale(mat, lc, w.Layers[l].FirstBias, m.profile.Threshold) })
	}
	silent.ActivationPredictor = &mixed{sketch, lowrank.NewPredictor(m.backend, factors), factors}
	return silent, nil
}

// choosePoint chooses the calibration's point, or the most careful one.
func (m *loaded) choosePoint(o Options) *predict.Point {
	c := o.Calibration
	point, ok := c.Choose(o.quality())
	switch {
	case ok:
	case c.Floor == predict.FloorRecall:
		m.notice("the calibration has layers with a recall below %v or an output error above %v: using its most careful point", predict.LeastRecall, predict.MostError)
	default:
		m.notice("the calibration has no point within %.3g %% of dense perplexity: using the most careful, at %+.3g %%", 100*o.quality(), 100*point.Cost())
	}
	m.point = &point
	return m.point
}

func (m *loaded) notice(format string, args ...any) {
	m.place.Notices = append(m.place.Notices, fmt.Sprintf(format, args...))
}

// codes is the sketch of a layer: the pack's, or codes of the layer's own. These
// stay on the heap, where the sidecar was read to; their scales are to be
// multiplied by the calibration's slopes.
func (m *loaded) codes(c *predict.LayerCalibration, layer int, bias []float32) (device.SketchMat, error) {
	if c.Codes.Bits == 0 {
		return m.loading.loader.Sketch(layer, bias)
	}
	mat := device.SketchMat{
		Codes:    c.Codes.Rows,
		Bits:     c.Codes.Bits,
		RowBytes: len(c.Codes.Rows) / m.profile.FFN,
		Rows:     m.profile.FFN,
		Cols:     m.profile.HiddenSize,
		Scales:   m.memory.Floats(m.profile.FFN),
		Bias:     bias,
	}
	for i := range mat.Scales {
		mat.Scales[i] = 1
	}
	return mat, nil
}

// scale multiplies the scales of a layer's sketch by the slopes of its
// calibration. Silent neurons of the pack's own sketch keep their scales and
// their biases raw, less the activation's threshold; codes of the layer's own mean nothing without slopes.
func scale(m device.SketchMat, c *predict.LayerCalibration, raw []float32, threshold float32) {
	for i, slope := range c.Slope {
		switch {
		case c.Codes.Bits > 0 || !c.IsSilent(i):
			m.Scales[i] *= slope
		case raw != nil:
			m.Bias[i] = raw[i] - threshold
		default:
			m.Bias[i] = -threshold
		}
	}
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
