package transfer

import "testing"

// A layer whose forecasts are mostly wrong stops to read by them; one whose
// forecasts are mostly right goes on.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		wasted int // of 10 read early
		off    bool
	}{{0, false}, {5, false}, {6, true}, {10, true}} {
		var g record
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
	var g record
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

// A layer that gave up reads nothing early.
func TestGivenUp(t *testing.T) {
	f := makePack(t)
	f.file.set(0)
	h := newHarness(f, setup{slots: []int{8, 8}, staging: 4, activations: testFFN, workers: 1, modes: bothPredicted})
	defer h.close()
	h.forecaster.layers[0].off = true
	h.forecast(t, seq(0, 4))
	if h.stats.Early != 0 {
		t.Errorf("got %d neurons read early by a layer that gave up, want 0", h.stats.Early)
	}
}

// A plan says what the guesses for it were worth.
func TestCompare(t *testing.T) {
	f := forecaster{layers: make([]record, 1), early: []int32{2, 3, 5, 8}}
	plan := NeuronTransferPlan{
		IDs:    []int32{1, 3, 5, 9}, // 2 and 8 are wasted
		Slots:  []int32{0, 4, -1, -1},
		Misses: []int32{2, 3}, // 5 had to be read again
	}
	got := Stats{Misses: 10}
	f.compare(0, &plan, &got)
	if want := (Stats{Wanted: 4, Misses: 13, Wasted: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if r := f.layers[0]; r != (record{early: 4, wasted: 2}) || len(f.early) != 0 {
		t.Errorf("got record %+v with %v left, want 4 early, 2 of them wasted, none left", r, f.early)
	}
}
