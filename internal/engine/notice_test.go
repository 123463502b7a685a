package engine_test

import (
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
)

// A score counts by its slope: where that is zero all neurons are worth the same,
// however the weights that it is multiplied into are loaded.
func TestSlopes(t *testing.T) {
	path := small(t, convert.Options{})
	for _, early := range []bool{false, true} {
		for slope, all := range map[float32]bool{0: true, 1: false} {
			e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 3), Calibration: calibrated(smallLayers, smallFFN, slope, 1, 1e-3, 1e-9), Early: early})
			got := outcomeOf(t, e, prompt(smallVocab, 20), 1).stats.ComputedShare()
			if got <= 0 || (got == 1) != all {
				t.Errorf("slope %v, early %v: got %.3f of the neurons computed, want all: %v", slope, early, got, all)
			}
		}
	}
}

// A calibration says what it costs with one element type; of others that is
// said, once.
func TestCalibratedOnOtherType(t *testing.T) {
	path := small(t, convert.Options{})
	c := calibrated(smallLayers, smallFFN, 1, 1, 1, 1)
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
