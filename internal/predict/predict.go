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
//   - Sketch multiplies with a copy of fc1 in 4 bits, which needs no training,
//     or in 1 to 3 that a calibration rounded (Codes).
//   - Factors of low rank (package lowrank) are trained; a calibration says in
//     which layers they are used.
//   - Oracle multiplies with fc1 itself: what a perfect predictor would say.
//     It is for analysis, since it costs what it should save.
package predict

import (
	"math"
	"slices"

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
	Backend device.Backend
	Layers  []device.SketchMat // [layers]; one without codes wants nothing
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
	return nil
}

// Oracle computes the pre-activations themselves, with the kernels that the
// MLP uses, so that its score is above zero exactly where a neuron is active.
type Oracle struct {
	Backend device.Backend
	Layers  []device.Mat // [layers] of fc1 [ffn, d]
	Bias    [][]float32  // [layers][ffn], nil without biases
}

// Scores sets scores to the pre-activations.
func (o *Oracle) Scores(layer, tokens int, x, scores []float32) error {
	m := o.Layers[layer]
	o.Backend.Linear(act(scores, tokens, m.Rows), act(x, tokens, m.Cols), m, o.Bias[layer])
	return nil
}

func act(data []float32, rows, cols int) device.Act {
	return device.Act{Data: data, Rows: rows, Cols: cols, Stride: cols}
}

// Selection decides from a token's scores which neurons are wanted: as many
// as Multiple times the number of scores above zero, the highest first.
type Selection struct {
	// Multiple of 1 wants exactly the scores above zero. More hedges against
	// a predictor's error at the cost of computing neurons that stay silent.
	Multiple float64
	hist     *histogram
	scratch  []float32
}

// Threshold is the bar: neurons whose score is above it are wanted.
func (s *Selection) Threshold(scores []float32) float32 {
	if s.Multiple == 1 {
		return 0
	}
	if s.hist == nil {
		s.hist = new(histogram)
	}
	s.hist.count(scores)
	if !s.hist.finite() {
		return s.ranked(scores)
	}
	k, bar := s.bar(s.hist.positive(scores), len(scores))
	if k > 0 {
		bar = s.hist.kthLargest(scores, k, &s.scratch)
		bar = math.Nextafter32(bar, float32(math.Inf(-1))) // all that tie with it are wanted
	}
	return bar
}

// bar is where the threshold lies among n scores of which so many are
// positive: just below the k-th largest, or at bar if k is 0.
func (s *Selection) bar(positive, n int) (k int, bar float32) {
	k = int(math.Ceil(s.Multiple * float64(positive)))
	switch {
	case k == 0:
		return 0, float32(math.Inf(1))
	case k >= n:
		return 0, float32(math.Inf(-1))
	}
	return k, 0
}

// ranked is Threshold where some of the scores may not be finite. NaN ranks
// nowhere.
func (s *Selection) ranked(scores []float32) float32 {
	positive := 0
	s.scratch = s.scratch[:0]
	for _, v := range scores {
		if v > 0 {
			positive++
		}
		if v == v {
			s.scratch = append(s.scratch, v)
		}
	}
	k, bar := s.bar(positive, len(s.scratch))
	if k > 0 {
		bar = math.Nextafter32(kthLargest(s.scratch, k), float32(math.Inf(-1)))
	}
	return bar
}

// kthLargest is the k-th largest of v, k from 1, which it reorders and which
// has no NaN: quickselect with the median of three, falling back on sorting when the halves stay
// uneven, so that no input makes it quadratic.
func kthLargest(v []float32, k int) float32 {
	for budget := 64; len(v) > 16 && budget > 0; budget-- {
		n := len(v)
		pivot := median(v[0], v[n/2], v[n-1])
		lo, hi := 0, n // v[:lo] > pivot, v[hi:] < pivot, between: equal
		for i := 0; i < hi; {
			switch {
			case v[i] > pivot:
				v[i], v[lo] = v[lo], v[i]
				lo++
				i++
			case v[i] < pivot:
				hi--
				v[i], v[hi] = v[hi], v[i]
			default:
				i++
			}
		}
		switch {
		case k <= lo:
			v = v[:lo]
		case k <= hi:
			return pivot
		default:
			v, k = v[hi:], k-hi
		}
	}
	slices.Sort(v)
	return v[len(v)-k]
}

func median(a, b, c float32) float32 {
	return max(min(a, b), min(max(a, b), c))
}
