package transfer

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
)

// A layer whose forecasts are mostly wrong stops to read by them; one whose
// forecasts are mostly right goes on.
func TestGuess(t *testing.T) {
	for _, c := range []struct {
		wasted int // of 10 read early
		off    bool
	}{{0, false}, {5, false}, {6, true}, {10, true}} {
		var g guess
		for range enoughGuesses/10 - 1 {
			g.judge(10, c.wasted)
		}
		if g.off {
			t.Errorf("%d of 10 wasted: gave up before %d neurons", c.wasted, enoughGuesses)
		}
		for range 1000 {
			g.judge(10, c.wasted)
		}
		if g.off != c.off {
			t.Errorf("%d of 10 wasted: got off %v, want %v", c.wasted, g.off, c.off)
		}
	}
	// It is the recent past that counts.
	var g guess
	for range 1000 {
		g.judge(10, 0)
	}
	for range 300 {
		g.judge(10, 10)
	}
	if !g.off {
		t.Error("got on after 3000 wasted neurons, want off")
	}
}

// A layer that gave up reads nothing early, and one whose mode changes
// computes accordingly from the next pass on.
func TestModes(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{8, 0}, ring: 4, hidden: testFFN, workers: 1, predicted: []bool{true, false}})
	defer h.close()
	if h.Mode(0) != config.Predicted || h.Mode(1) != config.Gate {
		t.Errorf("got modes %v, %v, want predicted and gate", h.Mode(0), h.Mode(1))
	}
	if on, of := h.Guessing(); on != 1 || of != 1 {
		t.Errorf("got %d of %d layers guessing, want 1 of 1", on, of)
	}
	h.guesses[0].off = true
	h.forecast(t, seq(0, 4))
	if h.Stats.Early != 0 {
		t.Errorf("got %d neurons read early by a layer that gave up, want 0", h.Stats.Early)
	}
	for _, c := range []struct {
		mode     config.Mode
		computed int
		skip     bool
	}{{config.Predicted, 3, true}, {config.Gate, testFFN, true}, {config.Dense, testFFN, false}} {
		h.SetMode(0, c.mode)
		w, err := h.Begin(0, h.predictor.input(0, seq(0, 3)), true)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for w.Next() {
			if err := w.Arrive(); err != nil {
				t.Fatal(err)
			}
			n += len(w.Segment().IDs)
			if got := w.Segment().SkipZero; got != c.skip {
				t.Errorf("%s: got SkipZero %v, want %v", c.mode, got, c.skip)
			}
		}
		w.Close()
		if n != c.computed {
			t.Errorf("%s: got %d neurons, want %d", c.mode, n, c.computed)
		}
	}
}
