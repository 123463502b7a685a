package calibrate_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/calibrate"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/quality"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// randomPack is a pack of drawn weights: 2 layers of 64 x 256.
func randomPack(t *testing.T) string {
	t.Helper()
	p := synth.Sizes{Hidden: 64, Layers: 2, Heads: 2, FFN: 256, Vocab: 400, Context: 128}.Profile()
	path := filepath.Join(t.TempDir(), "random.sflow")
	if _, err := synth.Pack(context.Background(), path, synth.Options{Profile: p}, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// With a floor of recall every layer holds it on other tokens than it was
// calibrated on, and no layer computes much more than that takes.
func TestRecallFloor(t *testing.T) {
	path := randomPack(t)
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
	r, err := quality.Evaluate(context.Background(), e, sample.DrawTokens(400, 1000, 2), quality.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for l, a := range r.Layers {
		if a.RecallWeighted() < predict.LeastRecall || a.OutputError() > predict.MostError {
			t.Errorf("layer %d: got recall %.4f, output error %.4f", l, a.RecallWeighted(), a.OutputError())
		}
		if a.ComputedShare() > 1.3*a.ActiveShare() {
			t.Errorf("layer %d: got %.3f computed of %.3f active, want no more than the floor takes", l, a.ComputedShare(), a.ActiveShare())
		}
	}
}

// Trained factors predict every layer where they are asked for, the engine
// takes them with their calibration, and a training that ended goes on with the
// layers it had, to the same result.
func TestLowRank(t *testing.T) {
	path := randomPack(t)
	run := func(trained map[int]lowrank.Factors, stopAfter int) (calibrate.Result, map[int]lowrank.Factors, error) {
		o := optionsOf(t, path)
		o.IDs, o.Floor, o.Predictor, o.Trained = sample.DrawTokens(400, 2400, 1), predict.FloorRecall, "lowrank", trained
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		kept := make(map[int]lowrank.Factors)
		o.Finished = func(f map[int]lowrank.Factors) error {
			for l, v := range f {
				kept[l] = v.Clone()
			}
			if len(f) == stopAfter {
				cancel()
			}
			return nil
		}
		r, err := calibrate.Calibrate(ctx, o)
		return r, kept, err
	}
	whole, _, err := run(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Factors) != 2 || whole.Calibration.Layers[0].Kind != predict.KindLowRank {
		t.Fatalf("got factors of %d layers, kind %q, want 2 of lowrank", len(whole.Factors), whole.Calibration.Layers[0].Kind)
	}
	for i, slope := range whole.Calibration.Layers[0].Slope {
		if slope != 1 || whole.Calibration.Layers[0].Offset[i] != 0 {
			t.Fatalf("neuron %d: got slope %v, want it folded into the factors", i, slope)
		}
	}
	_, kept, err := run(nil, 1)
	if err == nil || len(kept) != 1 {
		t.Fatalf("stopped: got error %v and %d layers kept, want an error and 1", err, len(kept))
	}
	again, _, err := run(kept, 0)
	if err != nil {
		t.Fatal(err)
	}
	for l, f := range whole.Factors {
		g := again.Factors[l]
		if f.Rank != g.Rank || f.B[0] != g.B[0] || f.A[len(f.A)-1] != g.A[len(g.A)-1] {
			t.Errorf("layer %d: got other factors after going on", l)
		}
	}
	if got, want := again.Calibration.Points[0].KL, whole.Calibration.Points[0].KL; got != want {
		t.Errorf("got KL %v after going on, want %v", got, want)
	}
	o := optionsOf(t, path)
	if _, err := o.Open(context.Background(), false, 0, engine.Options{Calibration: whole.Calibration}); err == nil || !strings.Contains(err.Error(), "no factors") {
		t.Errorf("a calibration of factors without them: got %v, want a refusal", err)
	}
}

// Where there is no time to train, factors are in closed form, every layer that
// is predicted by them holds the floor, and nothing is kept for a training that
// goes on.
func TestClosedForm(t *testing.T) {
	o := optionsOf(t, randomPack(t))
	o.IDs, o.Floor, o.Predictor, o.TrainTime = sample.DrawTokens(400, 2400, 1), predict.FloorRecall, "lowrank", 1
	o.Finished = func(map[int]lowrank.Factors) error {
		t.Error("trained a layer")
		return nil
	}
	r, err := calibrate.Calibrate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Calibration
	if len(r.Factors) != 2 || c.Layers[0].Kind != predict.KindLowRank || c.Layers[1].Kind != predict.KindLowRank {
		t.Fatalf("got factors of %d layers, want 2", len(r.Factors))
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
