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

// A calibration says what it costs with one element type; of others that is
// said, once.
func TestCalibratedOnOtherType(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	c := &predict.Calibration{Floor: predict.FloorPerplexity, Layers: make([]predict.LayerCalibration, 6), Points: []predict.Point{{MinEnergy: 1}}}
	for l := range c.Layers {
		lc := &c.Layers[l]
		for _, v := range []*[]float32{&lc.Slope, &lc.Offset, &lc.Sigma, &lc.Norm} {
			*v = slices.Repeat([]float32{1}, 1024)
		}
	}
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
