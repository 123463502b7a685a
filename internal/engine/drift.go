package engine

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
)

const (
	// sampleEvery is how many steps of decoding there are to one in which a layer
	// is audited, each time the next layer. Computing all of one layer's neurons
	// once in so many tokens costs a percent or two.
	sampleEvery = 64
	// A user is told of a layer whose output error in its latest leastSampled to
	// mostSampled tokens is above driftTimes what its calibration measured, and
	// above leastDrift, below which no text reads differently.
	leastSampled = 8
	mostSampled  = 64
	driftTimes   = 2.0
	leastDrift   = 0.1
)

// drift is what was sampled of the layers while decoding. It is reported and
// changes nothing: output would depend on what ran before.
type drift struct {
	steps   int // of decoding
	sampled *model.Audit
	// calibrated is the output error that each layer had when it was calibrated,
	// [layers], nil without a calibration.
	calibrated []float64
	told       []bool             // [layers]
	since      []model.LayerAudit // [layers] what is too old to judge by
}

// newDrift is of layers of which nothing was sampled, at a calibration's point or
// nil.
func newDrift(layers int, at *predict.Point) drift {
	d := drift{sampled: model.NewAudit(layers), told: make([]bool, layers), since: make([]model.LayerAudit, layers)}
	if at != nil {
		for _, l := range at.Layers {
			d.calibrated = append(d.calibrated, l.MLPError)
		}
	}
	return d
}

// next is the layer whose turn it is in the next step of decoding, -1 for none.
func (d *drift) next() int {
	if d.steps++; d.steps%sampleEvery != 0 {
		return -1
	}
	return (d.steps/sampleEvery - 1) % len(d.told)
}

// expected is the sum of squares that the errors of all samples together come
// to by the calibration.
func (d *drift) expected() (sum float64) {
	for l, e := range d.calibrated {
		sum += e * e * d.sampled.Layers[l].Output
	}
	return sum
}

// notice is what is to be said of a layer that was just sampled, once; else "".
func (d *drift) notice(layer int) string {
	if d.calibrated == nil || d.told[layer] {
		return ""
	}
	a, since, was := d.sampled.Layers[layer], d.since[layer], d.calibrated[layer]
	tokens := a.Tokens - since.Tokens
	got, _ := rootShare(a.Error-since.Error, a.Output-since.Output)
	if tokens >= mostSampled {
		d.since[layer] = a
	}
	if tokens < leastSampled || got <= max(leastDrift, driftTimes*was) {
		return ""
	}
	d.told[layer] = true
	return fmt.Sprintf("layer %d: leaving neurons out changes its output by %.0f %%, on the calibration's text it was %.0f %%: train on text like this, ask for a better --quality, or use --mode gate", layer, 100*got, 100*was)
}

// rootShare is the square root of part over all, both of squares; false if there
// is nothing to have a part of.
func rootShare(part, all float64) (float64, bool) {
	if all <= 0 {
		return 0, false
	}
	return math.Sqrt(max(0, part) / all), true
}
