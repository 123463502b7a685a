package engine

import (
	"fmt"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Choice is what auto stands for in each layer.
type Choice struct {
	Modes string // a letter for each layer: p, g or d
	// Deprecated: prompts are computed as decoding is, and nothing is measured.
	// These are always empty.
	Prompts                string
	Measured               int
	Predicted, Gate, Dense float64
}

// Summary says how many layers are in which mode: "5 predicted, 1 gate".
func (c Choice) Summary() string {
	var parts []string
	for _, m := range []config.Mode{config.Predicted, config.Gate, config.Dense} {
		switch n := strings.Count(c.Modes, string(m[0])); n {
		case 0:
		case len(c.Modes):
			return string(m)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, m))
		}
	}
	return strings.Join(parts, ", ")
}

// String is Summary.
func (c Choice) String() string { return c.Summary() }

// Exact reports whether no layer is predicted.
func (c Choice) Exact() bool { return !strings.Contains(c.Modes, "p") }

// gateBytes is what a model's neurons take at least for auto to predict
// without a calibration. Below it computing all first parts costs no more than
// the rest of a token, so that there is little to win by leaving neurons out
// and nobody knows what that would cost.
const gateBytes = 128 << 20

// modesOf is the mode of each layer. Output depends on it, so it follows from
// the model, its calibration and what the strategy names, and from nothing
// else: no budget, batch, machine or measurement.
//
// Auto is predicted where the calibration holds the quality that is asked for,
// and where the caller brings a predictor. Without a calibration it is
// predicted in models whose neurons take gateBytes or more, but for gated ones. In
// all other models it is gate, which is exact. Gated neurons' first parts are a
// third of their bytes, and in fast memory say exactly who is active.
//
// Predicted mode leaves those layers to the gate in which the calibration found
// that to be cheaper. A model whose activation gives no zeros runs densely.
func modesOf(l *pack.Layout, o Options) []config.Mode {
	p, c := l.Profile(), o.calibrated()
	mode := o.Strategy.Mode
	switch {
	case !p.Sparse():
		mode = config.Dense
	case mode != "" && mode != config.Auto:
	case autoPredicts(l, c, o):
		mode = config.Predicted
	default:
		mode = config.Gate
	}
	modes := make([]config.Mode, p.Layers)
	for i := range modes {
		modes[i] = mode
		if mode == config.Predicted && c != nil && c.Layers[i].Kind == predict.KindGate {
			modes[i] = config.Gate
		}
	}
	return modes
}

// autoPredicts reports whether auto predicts in a model that has zeros and the
// calibration c.
func autoPredicts(l *pack.Layout, c *predict.Calibration, o Options) bool {
	switch {
	case o.ownPredictor():
		return true
	case c != nil:
		_, holds := c.Choose(o.quality())
		return holds
	}
	return neuronBytes(l) >= gateBytes && l.Profile().NeuronParts == 2
}

// neuronBytes is the size of a model's neurons.
func neuronBytes(l *pack.Layout) int64 {
	p := l.Profile()
	return p.Bundles() * p.BundleBytes(l.MLPDType())
}

// choiceOf is the modes of a placement's layers.
func choiceOf(p *placement.Placement) (c Choice) {
	for _, m := range layerModes(p) {
		if p.Gates {
			m = config.Gate
		}
		c.Modes += string(m[0])
	}
	return c
}

// layerModes is the mode of each layer of a placement.
func layerModes(p *placement.Placement) []config.Mode {
	modes := make([]config.Mode, len(p.Predicted))
	for l, predicted := range p.Predicted {
		switch {
		case predicted:
			modes[l] = config.Predicted
		case p.Mode == config.Dense:
			modes[l] = config.Dense
		default:
			modes[l] = config.Gate
		}
	}
	return modes
}
