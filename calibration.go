package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/learned"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Calibration is what real text says about a model's predictor, and the
// operating points that OffloadStrategy.Quality chooses among.
type Calibration = predict.Calibration

// OperatingPoint is one setting of a calibrated predictor and what it costs.
type OperatingPoint = predict.Point

// Point is the operating point of predicted mode, nil if the model is not
// calibrated.
func (e *Engine) Point() *OperatingPoint { return e.e.Point() }

// finder is where what is known of a model is looked for. Trained factors are
// read for layers that are predicted by them, or if they are wanted by name.
func (o options) finder() learned.Finder {
	return learned.Finder{CacheDir: o.cacheDir, Factors: o.engine.Strategy.Predictor == "lowrank", Notify: o.notify}
}
