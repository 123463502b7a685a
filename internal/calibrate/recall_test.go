package calibrate_test

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/calibrate"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/quality"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// randomPack is a pack of drawn weights: 2 layers of 64 x 256.
func randomPack(t *testing.T) string { return gatedPack(t, "") }

// gatedPack is randomPack with a gate.
func gatedPack(t *testing.T, gate config.Activation) string {
	t.Helper()
	s := synth.Sizes{Hidden: 64, Layers: 2, Heads: 2, FFN: 256, Vocab: 400, Context: 128, Gate: gate}
	if gate == config.FATReLU {
		s.Threshold = 0.3
	}
	if gate != "" {
		s.Statistics.Active = 0.1
	}
	path := filepath.Join(t.TempDir(), "random.sflow")
	if _, err := synth.Pack(context.Background(), path, synth.Options{Profile: s.Profile(), Statistics: s.Statistics}, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// With a floor of recall every layer holds it on other tokens than it was
// calibrated on, and no layer computes much more than that takes. In gated neurons
// what counts is the gate times the second part, of which the gate is predicted.
func TestRecallFloor(t *testing.T) {
	for _, gate := range []config.Activation{"", config.ReLU, config.FATReLU, config.DReLU} {
		t.Run("gate "+string(gate), func(t *testing.T) { testRecallFloor(t, gate) })
	}
}

func testRecallFloor(t *testing.T, gate config.Activation) {
	path := gatedPack(t, gate)
	o := optionsOf(t, path)
	o.IDs, o.Floor = sample.DrawTokens(400, 2000, 1), predict.FloorRecall
	res, err := calibrate.Calibrate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := res.Calibration
	if len(c.Points) != 1 || c.Floor != predict.FloorRecall || !c.Points[0].HoldsRecall() || !c.Points[0].ByRecall() || c.Points[0].KL <= 0 {
		t.Fatalf("got floor %s and points %+v, want one that holds it, with its KL", c.Floor, c.Points)
	}
	e, err := o.Open(context.Background(), false, 0, engine.Options{Calibration: c})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r, err := quality.Compare(context.Background(), e, sample.DrawTokens(400, 1000, 2), quality.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for l, a := range r.Layers {
		if a.RecallWeighted() < predict.LeastRecall || a.OutputError() > predict.MostError {
			t.Errorf("layer %d: got recall %.4f, output error %.4f", l, a.RecallWeighted(), a.OutputError())
		}
		most := 1.3 * a.ActiveShare()
		if gate == config.DReLU {
			most *= 2 // second parts, which nobody predicts, close as many gates
		}
		if a.ComputedShare() > most {
			t.Errorf("layer %d: got %.3f computed of %.3f active, want no more than the floor takes", l, a.ComputedShare(), a.ActiveShare())
		}
	}
}

// Factors predict every layer where they are asked for, every layer holds the
// floor, the engine takes the factors with their calibration, and the threads do
// not matter.
func TestLowRank(t *testing.T) {
	o := optionsOf(t, randomPack(t))
	o.IDs, o.Floor, o.Predictor = sample.DrawTokens(400, 2400, 1), predict.FloorRecall, "lowrank"
	r, err := calibrate.Calibrate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Calibration
	for l := range c.Layers {
		if c.Layers[l].Kind != predict.KindLowRank || r.Factors[l].Empty() {
			t.Fatalf("layer %d: got kind %q, want factors", l, c.Layers[l].Kind)
		}
		for i, slope := range c.Layers[l].Slope {
			if slope != 1 || c.Layers[l].Offset[i] != 0 {
				t.Fatalf("layer %d, neuron %d: got slope %v, want it folded into the factors", l, i, slope)
			}
		}
	}
	if !c.Points[0].HoldsRecall() {
		t.Errorf("got %+v, want the floor of recall held", c.Points[0])
	}
	if c.DType != "F32" && c.DType != "F16" {
		t.Errorf("got element type %q", c.DType)
	}
	active := uint64(0)
	for _, n := range r.Counts.Neurons[0] {
		active += uint64(n)
	}
	if r.Counts.Tokens == 0 || active == 0 || active > uint64(r.Counts.Tokens)*256 {
		t.Errorf("got %d activations counted in %d tokens", active, r.Counts.Tokens)
	}
	if _, err := o.Open(context.Background(), false, 0, engine.Options{Calibration: c}); err == nil || !strings.Contains(err.Error(), "no factors") {
		t.Errorf("a calibration of factors without them: got %v, want a refusal", err)
	}
	o.Threads = 1
	again, err := calibrate.Calibrate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, r) {
		t.Error("got another calibration with one thread than with two")
	}
}

// Too little memory is an error before any work.
func TestNeeds(t *testing.T) {
	o := optionsOf(t, randomPack(t))
	o.IDs, o.HeapBytes = sample.DrawTokens(400, 2000, 1), 100_000
	o.Open = func(context.Context, bool, int64, engine.Options) (*engine.Engine, error) {
		t.Error("opened the model")
		return nil, config.OffloadStrategy{Threads: -1}.Validate()
	}
	_, err := calibrate.Calibrate(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "memory: got 100.00 kB for training, want at least") {
		t.Errorf("got %v, want an error about memory", err)
	}
}
