package engine

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// audited is a layer's counts of n active neurons, all of one weight, of which
// a share was computed.
func audited(n int, share float64) model.LayerAudit {
	return model.LayerAudit{Active: int64(n), ActiveWeight: float64(n), FoundWeight: share * float64(n)}
}

// A layer is below its floor only when that is sure, and older samples stop to
// count.
func TestBelow(t *testing.T) {
	for _, c := range []struct {
		n     int
		share float64
		want  bool
	}{
		{leastActive - 1, 0, false},
		{leastActive, 0.5, true},
		{leastActive, 0.93, false}, // may be luck
		{1500, 0.93, true},
		{1500, 0.95, false},
		{0, 0, false},
	} {
		g := guard{floor: 0.95}
		if got := g.below(audited(c.n, c.share)); got != c.want {
			t.Errorf("%d neurons, recall %v: got %v, want %v", c.n, c.share, got, c.want)
		}
	}
	g := guard{floor: 0.95}
	good := audited(mostActive, 1)
	if g.below(good) {
		t.Error("a recall of 1: got below")
	}
	bad := audited(500, 0.6)
	bad.Add(good)
	if !g.below(bad) {
		t.Error("500 neurons at 0.6 after a long time at 1: got not below, want below")
	}
}

// What a calibration measured in a layer is its floor.
func TestFloors(t *testing.T) {
	c := &predict.Calibration{Layers: make([]predict.LayerCalibration, 2)}
	c.Layers[1].Dead = true
	p := &predict.Point{RecallWeighted: 0.9, Layers: []predict.LayerPoint{{RecallWeighted: 0.98}, {}}}
	gs := newGuards(p, c, 2)
	if gs[0].floor != 0.98-floorSlack || gs[1].floor != 0 {
		t.Errorf("got floors %v, %v", gs[0].floor, gs[1].floor)
	}
	if gs = newGuards(nil, nil, 1); gs[0].floor != predict.LeastRecall {
		t.Errorf("uncalibrated: got floor %v, want %v", gs[0].floor, predict.LeastRecall)
	}
}
