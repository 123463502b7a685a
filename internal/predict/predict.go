// Package predict says which neurons of a layer a token is likely to activate.
//
// A predictor returns scores, not sets: how many neurons are worth computing
// is decided apart from how they are ranked, so that one threshold can be
// tuned for any predictor. A score above zero means "expected active"; among
// scores, higher is likelier.
//
// Predictors:
//
//   - All wants every neuron: the exact reference.
//   - Sketch multiplies with a copy of neurons' first parts in 4 bits, which needs
//     no training, or in 3 that a calibration rounded (Codes).
//   - Factors of low rank (package lowrank) come with a calibration, which says
//     in which layers they are used.
//   - Oracle multiplies with the first parts themselves: what a perfect predictor
//     would say. It is for analysis, since it costs what it should save.
//
// Of gated neurons the first part is the gate. Its sign alone decides who is active
// where the function is ReLU or FATReLU. With dReLU the second part has a say too:
// a sketch of that would double what a prediction reads, to save only those
// neurons that their gate opens and their second part closes.
package predict

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// ActivationPredictor scores the neurons of one layer.
type ActivationPredictor interface {
	// Scores sets scores [tokens, ffn] from x [tokens, d], the input of the
	// layer's MLP or a forecast of it. It is called from one goroutine.
	Scores(layer, tokens int, x, scores []float32) error
}

// All scores every neuron as active.
type All struct{}

// Scores sets all scores to 1.
func (All) Scores(_, _ int, _, scores []float32) error {
	for i := range scores {
		scores[i] = 1
	}
	return nil
}

// Sketch estimates pre-activations with weights of 3 or 4 bits and 8-bit inputs.
// The rounding to 4 is described at pack.PackSketch and comes with the pack;
// fewer come with a calibration.
type Sketch struct {
	Backend   device.Backend
	Layers    []device.SketchMat // [layers]; one without codes wants nothing
	Threshold float32            // of pre-activations, below which a neuron is not active
}

// Scores sets scores to the estimated pre-activations.
func (s *Sketch) Scores(layer, tokens int, x, scores []float32) error {
	m := s.Layers[layer]
	if m.Codes == nil {
		for i := range scores {
			scores[i] = -1
		}
		return nil
	}
	s.Backend.Sketch(act(scores, tokens, m.Rows), act(x, tokens, m.Cols), m)
	lower(scores, s.Threshold)
	return nil
}

// Oracle computes the first parts of all neurons themselves, by the operation that
// the MLP computes them by, so that its score is above zero exactly where a neuron
// is active: another might sum in another order.
type Oracle struct {
	Backend   device.Backend
	Layers    []device.Mat // [layers] of first parts [ffn, d]
	Bias      [][]float32  // [layers][ffn], nil without biases
	Act       config.Activation
	Threshold float32 // of FATReLU

	ids []int32
	h   []float32 // [oracleRun, tokens]
}

// oracleRun is how many neurons are scored at a time for several tokens.
const oracleRun = 256

// Scores sets scores to the activations that the first parts give.
func (o *Oracle) Scores(layer, tokens int, x, scores []float32) error {
	m := o.Layers[layer]
	for i := len(o.ids); i < m.Rows; i++ {
		o.ids = append(o.ids, int32(i))
	}
	row := m.DType.RowBytes(m.Cols)
	rows := device.Slots{Data: m.Data, Stride: row, DType: m.DType, Cols: m.Cols, Parts: 2, PartStride: row * int64(m.Rows)}
	w := device.Work{Bias: o.Bias[layer], Act: o.Act, Threshold: o.Threshold}
	in := act(x, tokens, m.Cols)
	if tokens == 1 {
		w.IDs, w.Slots = o.ids[:m.Rows], o.ids[:m.Rows]
		o.Backend.Up(scores, in, rows, w, o.ids[:m.Rows])
		return nil
	}
	if len(o.h) < oracleRun*tokens {
		o.h = make([]float32, oracleRun*tokens)
	}
	for first := 0; first < m.Rows; first += oracleRun {
		w.IDs = o.ids[first:min(first+oracleRun, m.Rows)]
		w.Slots, w.SameInput = w.IDs, first > 0
		h := o.h[:len(w.IDs)*tokens]
		o.Backend.Up(h, in, rows, w, o.ids[:len(w.IDs)])
		for t := range tokens {
			to := scores[t*m.Rows+first:][:len(w.IDs)]
			for i := range to {
				to[i] = h[i*tokens+t]
			}
		}
	}
	return nil
}

// lower subtracts a threshold. What is left is above zero exactly where a score was
// above it: float32 differences do not vanish.
func lower(scores []float32, threshold float32) {
	if threshold == 0 {
		return
	}
	for i := range scores {
		scores[i] -= threshold
	}
}

func act(data []float32, rows, cols int) device.Act {
	return device.Act{Data: data, Rows: rows, Cols: cols, Stride: cols}
}
