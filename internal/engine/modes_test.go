package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// ofNeurons is the layout of a model of 3 layers whose neurons are at least so
// many bytes.
func ofNeurons(t *testing.T, bytes int64, a config.Activation) *pack.Layout {
	t.Helper()
	return layoutOf(t, bytes, a, 2)
}

// layoutOf is ofNeurons of so many parts.
func layoutOf(t *testing.T, bytes int64, a config.Activation, parts int) *pack.Layout {
	t.Helper()
	const d = 64
	p := synth.Sizes{Hidden: d, Layers: 3, Heads: 2, FFN: int(bytes/(3*int64(parts)*d*2)) + 1, Vocab: 300, Context: 64}.Profile()
	p.Activation, p.NeuronParts = a, parts
	l, err := pack.Spec{Profile: p, Name: "m", Attn: tensor.F16, MLP: tensor.F16, Align: 512}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Auto is what its rule says, and explicit modes are what they say, but for
// layers that the calibration leaves to the gate.
func TestModes(t *testing.T) {
	small, large := ofNeurons(t, 1<<20, config.ReLU), ofNeurons(t, gateBytes, config.ReLU)
	c := &predict.Calibration{Floor: predict.FloorPerplexity, Points: []predict.Point{{PPLChange: 0.004}}, Layers: make([]predict.LayerCalibration, 3)}
	c.Layers[1].Kind = predict.KindGate
	named := func(mode config.Mode, predictor string) Options {
		return Options{Strategy: config.OffloadStrategy{Mode: mode, Predictor: predictor}, Calibration: c}
	}
	careful := named(config.Auto, "")
	careful.Strategy.Quality = 0.003
	for _, x := range []struct {
		what string
		l    *pack.Layout
		o    Options
		want string
	}{
		{"a small model, nothing known", small, Options{}, "ggg"},
		{"a large model, nothing known", large, Options{}, "ppp"},
		{"a large gated model, nothing known", layoutOf(t, gateBytes, config.ReLU, 3), Options{}, "ggg"},
		{"no zeros", ofNeurons(t, 1<<20, config.GELU), Options{}, "ddd"},
		{"calibrated", small, named(config.Auto, ""), "pgp"},
		{"calibrated for less quality than is asked for", large, careful, "ggg"},
		{"a caller's predictor", small, Options{Predictor: predict.All{}}, "ppp"},
		{"the oracle", small, named(config.Auto, "oracle"), "ppp"},
		{"predicted", small, Options{Strategy: config.OffloadStrategy{Mode: config.Predicted}}, "ppp"},
		{"predicted, calibrated", small, named(config.Predicted, ""), "pgp"},
		{"gate", large, named(config.Gate, ""), "ggg"},
		{"dense", large, named(config.Dense, ""), "ddd"},
	} {
		for _, change := range []func(*Options){
			func(*Options) {},
			func(o *Options) { o.Strategy.Budget.Share = 0.5 },
			func(o *Options) { o.Strategy.Budget.Bytes = 1 << 40 },
			func(o *Options) { o.Strategy.GPUCacheRatio = config.Ratio(0.1) },
			func(o *Options) { o.Strategy.Threads, o.Strategy.Context = 7, 30 },
			func(o *Options) { o.Counts = cache.NewCounts(3, x.l.Profile().FFN) },
		} {
			o := x.o
			change(&o)
			var got string
			for _, m := range modesOf(x.l, o) {
				got += string(m[0])
			}
			place, err := Plan(x.l, o)
			if err != nil {
				t.Fatal(err)
			}
			if chosen := choiceOf(place).Modes; got != x.want || chosen != got {
				t.Errorf("%s, %+v: got modes %s, placed as %s, want %s", x.what, o.Strategy, got, chosen, x.want)
			}
			if (place.Chosen != "") != place.Auto {
				t.Errorf("%s: got %q chosen, auto %v", x.what, place.Chosen, place.Auto)
			}
		}
	}
}

func TestChoiceSummary(t *testing.T) {
	for want, modes := range map[string]string{"predicted": "ppp", "2 predicted, 1 gate": "pgp", "gate": "ggg", "dense": "dd"} {
		c := Choice{Modes: modes}
		if got := c.Summary(); got != want || c.Exact() == strings.Contains(modes, "p") {
			t.Errorf("%s: got %q, exact %v, want %q", modes, got, c.Exact(), want)
		}
	}
}

// A layer is told of once: when its latest samples are enough, and their error
// is clearly above what it was when calibrated.
func TestDriftNotice(t *testing.T) {
	sample := func(tokens int64, err float64) func(*drift) {
		return func(d *drift) {
			a := &d.sampled.Layers[1]
			a.Tokens += tokens
			a.Output += 4 * float64(tokens)
			a.Error += err * err * 4 * float64(tokens)
		}
	}
	for _, x := range []struct {
		what    string
		was     float64
		samples []func(*drift)
		want    bool
	}{
		{"few samples", 0.1, []func(*drift){sample(leastSampled-1, 0.9)}, false},
		{"as calibrated", 0.1, []func(*drift){sample(20, 0.11)}, false},
		{"above, but hardly any", 0.01, []func(*drift){sample(20, 0.09)}, false},
		{"clearly above", 0.1, []func(*drift){sample(20, 0.21)}, true},
		{"above after a long time as calibrated", 0.1, []func(*drift){sample(10000, 0.1), sample(20, 0.3)}, true},
	} {
		d := newDrift(2, nil)
		d.calibrated = []float64{0.5, x.was}
		var got []string
		for _, s := range x.samples {
			s(&d)
			for range 2 {
				if n := d.notice(1); n != "" {
					got = append(got, n)
				}
			}
		}
		if (len(got) == 1) != x.want || len(got) > 1 {
			t.Errorf("%s: got notices %q, want one: %v", x.what, got, x.want)
		}
	}
	d := newDrift(2, nil)
	sample(100, 1)(&d)
	if got := d.notice(1); got != "" {
		t.Errorf("not calibrated: got %q, want nothing to compare with", got)
	}
}

// Layers are sampled in turn, one of a step in sampleEvery.
func TestSampledInTurn(t *testing.T) {
	d := newDrift(3, nil)
	var got []int
	for range 4 * sampleEvery {
		if l := d.next(); l >= 0 {
			got = append(got, l)
		}
	}
	if !slices.Equal(got, []int{0, 1, 2, 0}) {
		t.Errorf("got layers %v, want 0, 1, 2, 0", got)
	}
}
