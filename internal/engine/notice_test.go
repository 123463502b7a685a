package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// calibrated is a calibration of tiny that takes every neuron's score to be worth
// slope score + offset, and computes what has an energy of least.
func calibrated(slope, offset, sigma float32, least float64) *predict.Calibration {
	c := &predict.Calibration{Floor: predict.FloorPerplexity, Layers: make([]predict.LayerCalibration, 6), Points: []predict.Point{{MinEnergy: least}}}
	for l := range c.Layers {
		all := func(v float32) []float32 { return slices.Repeat([]float32{v}, 1024) }
		c.Layers[l] = predict.LayerCalibration{Slope: all(slope), Offset: all(offset), Sigma: all(sigma), Norm: all(1)}
	}
	return c
}

// A score counts by its slope: where that is zero all neurons are worth the same,
// however the weights that it is multiplied into are loaded.
func TestSlopes(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	for _, early := range []bool{false, true} {
		for slope, all := range map[float32]bool{0: true, 1: false} {
			e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 3), Calibration: calibrated(slope, 1, 1e-3, 1e-9), Early: early})
			got := outcomeOf(t, e, prompt(4096, 20), 1).stats.ComputedShare()
			if got <= 0 || (got == 1) != all {
				t.Errorf("slope %v, early %v: got %.3f of the neurons computed, want all: %v", slope, early, got, all)
			}
		}
	}
}

// A calibration says what it costs with one element type; of others that is
// said, once.
func TestCalibratedOnOtherType(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	c := calibrated(1, 1, 1, 1)
	for _, tt := range []struct {
		dtype string
		mode  config.Mode
		want  int
	}{
		{"Q8_0", config.Predicted, 1},
		{"Q8_0", config.Gate, 0},
		{"F16", config.Predicted, 0},
		{"", config.Predicted, 0},
	} {
		c.DType = tt.dtype
		e := open(t, path, engine.Options{Strategy: strategy(tt.mode, 1), Calibration: c})
		got := 0
		for _, n := range e.Placement().Notices {
			if strings.Contains(n, "was calibrated on Q8_0 weights, these are F16") {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("calibrated on %q, mode %s: got %d notices, want %d: %q", tt.dtype, tt.mode, got, tt.want, e.Placement().Notices)
		}
	}
}
