package engine_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// The sizes of small.
const (
	smallVocab  = 300
	smallLayers = 3
	smallFFN    = 256
)

// small packs a small model of drawn weights in the element types of o. What is
// true of any model is tested on it.
func small(t testing.TB, o convert.Options) string {
	t.Helper()
	return drawn(t, synth.Sizes{Hidden: 64, Layers: smallLayers, Heads: 2, FFN: smallFFN, Vocab: smallVocab, Context: 512}, o)
}

// drawn packs a model of drawn weights.
func drawn(t testing.TB, s synth.Sizes, o convert.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.sflow")
	if _, err := synth.Pack(t.Context(), path, synth.Options{Profile: s.Profile(), Statistics: s.Statistics}, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// calibrated is a calibration that takes every neuron's score to be worth slope
// score + offset, and computes what has an energy of least.
func calibrated(layers, ffn int, slope, offset, sigma float32, least float64) *predict.Calibration {
	c := &predict.Calibration{Floor: predict.FloorPerplexity, Layers: make([]predict.LayerCalibration, layers), Points: []predict.Point{{MinEnergy: least}}}
	for l := range c.Layers {
		all := func(v float32) []float32 { return slices.Repeat([]float32{v}, ffn) }
		c.Layers[l] = predict.LayerCalibration{Slope: all(slope), Offset: all(offset), Sigma: all(sigma), Norm: all(1)}
	}
	return c
}
