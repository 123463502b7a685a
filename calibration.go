package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/learned"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Calibration is what real text says about a model's predictor, and the
// operating points that OffloadStrategy.Quality chooses among.
//
// A neuron is worth computing if what it is expected to add to the squared
// error of the MLP's output, were it left out, is above MinEnergy: that weighs
// how surely it fires by how strongly, and by the length of its second half.
type Calibration struct {
	Layers []LayerCalibration `json:"-"`      // [layers]
	Points []OperatingPoint   `json:"points"` // by MinEnergy, the most careful first
	Floor  Floor              `json:"floor"`  // what the points hold
	// DType is the element type of the MLP's weights that it was made with.
	// Those of others have other errors, so that its points are not theirs.
	DType  string `json:"dtype,omitempty"`
	Text   string `json:"text"`   // what it was calibrated on
	Tokens int    `json:"tokens"` // of the text
}

// Choose is the point that computes least while the cost of it, and of every
// more careful point, is at most quality (0.005 is 0.5 %). If not even the
// first is that good, it is the first, and false. Where the floor is one of
// recall, quality is not asked.
func (c *Calibration) Choose(quality float64) (OperatingPoint, bool) {
	p, ok := mirror.To[*predict.Calibration](c).Choose(quality)
	return mirror.To[OperatingPoint](p), ok
}

// Uses reports whether a layer is predicted by k.
func (c *Calibration) Uses(k PredictorKind) bool {
	return mirror.To[*predict.Calibration](c).Uses(predict.Kind(k))
}

// LayerCalibration is what a calibration says of one layer. Slices have an
// element for each of its neurons.
type LayerCalibration struct {
	// Silent says which neurons never fired, so that nothing is known of when
	// they would.
	Silent []bool
	// Kind is who predicts: what costs least at the same loss.
	Kind PredictorKind
	// Codes are the layer's own, of a sketch that has them.
	Codes SketchCodes
	// Slope and Offset make an expected activation of a score, and Sigma is how
	// far that is off.
	Slope, Offset, Sigma []float32
	Norm                 []float32 // squared length of the second half
}

// Bias is what is added to a layer's scores times Slope so that a neuron worth
// computing at least comes out above zero. Silent neurons have no bar.
func (l *LayerCalibration) Bias(dst []float32, least float64) {
	mirror.To[*predict.LayerCalibration](l).Bias(dst, least)
}

// IsSilent reports whether a neuron is silent.
func (l *LayerCalibration) IsSilent(i int) bool {
	return mirror.To[*predict.LayerCalibration](l).IsSilent(i)
}

// SketchCodes is the first halves of a layer's neurons in a few bits a weight,
// rounded for the inputs that a text gave.
type SketchCodes struct {
	Bits int    // 3; 0: there are none, the pack's sketch is used
	Rows []byte // of the neurons, one after the other
}

// PredictorKind is a way to find out which neurons of a layer are worth
// computing: "", a sketch; lowrank, trained factors; gate, the first halves
// themselves, which predict nothing.
type PredictorKind string

// OperatingPoint is one setting of a calibrated predictor and what it costs,
// measured on text that the calibration has not seen.
type OperatingPoint struct {
	MinEnergy      float64 `json:"min_energy"`      // what a neuron that is computed adds at least; see Calibration
	PPLChange      float64 `json:"ppl_change"`      // relative change of perplexity
	KL             float64 `json:"kl"`              // divergence from the exact model, nats
	Recall         float64 `json:"recall"`          // share of active neurons that are computed
	RecallWeighted float64 `json:"recall_weighted"` // the same, weighted by |activation|
	MLPError       float64 `json:"mlp_error"`       // relative error of the MLP's output
	Active         float64 `json:"active"`          // share of all neurons
	Computed       float64 `json:"computed"`        // share of all neurons
	// Layers is what each layer does, [layers].
	Layers []LayerPoint `json:"layers,omitempty"`
}

// ByRecall reports whether p is a point of FloorRecall, at which each layer has
// a threshold of its own.
func (p OperatingPoint) ByRecall() bool { return p.internal().ByRecall() }

// Cost is the relative change of perplexity that a point is taken to cost: the
// measured one or what the divergence suggests, whichever is more. The measured
// one is noisy on a few thousand tokens and can be below zero by luck.
func (p OperatingPoint) Cost() float64 { return p.internal().Cost() }

// HoldsRecall reports whether every layer of a point holds FloorRecall.
func (p OperatingPoint) HoldsRecall() bool { return p.internal().HoldsRecall() }

// LayerEnergy is the MinEnergy that holds in a layer.
func (p OperatingPoint) LayerEnergy(layer int) float64 { return p.internal().LayerEnergy(layer) }

func (p OperatingPoint) internal() predict.Point { return mirror.To[predict.Point](p) }

// LayerPoint is one layer at an operating point.
type LayerPoint struct {
	// MinEnergy is the layer's own, 0 where it is the point's.
	MinEnergy      float64 `json:"min_energy,omitempty"`
	RecallWeighted float64 `json:"recall_weighted"` // as the point's
	MLPError       float64 `json:"mlp_error"`       // as the point's
}

// Floor is what OffloadStrategy.Quality stands for: a rise of perplexity or,
// where perplexity means nothing, recall and the error of the output.
type Floor string

// The floors.
const (
	// FloorPerplexity is a rise of perplexity, chosen at run time among the
	// points.
	FloorPerplexity Floor = "perplexity"
	// FloorRecall is, in every layer, recall weighted by |activation| of at
	// least LeastRecall and a relative error of the MLP's output of at most
	// MostError. It stands in for the other where perplexity means nothing:
	// with synthetic weights. There is one point.
	FloorRecall Floor = "recall"
)

// What FloorRecall demands of every layer.
const (
	LeastRecall = 0.95
	MostError   = 0.2
)

// Point is the operating point of predicted mode, nil if the model is not
// calibrated.
func (e *Engine) Point() *OperatingPoint { return mirror.To[*OperatingPoint](e.e.Point()) }

// finder is where what is known of a model is looked for. Trained factors are
// read for layers that are predicted by them, or if they are wanted by name.
func (o options) finder() learned.Finder {
	return learned.Finder{CacheDir: o.cacheDir, Factors: o.engine.Strategy.Predictor == "lowrank", Notify: o.notify}
}
