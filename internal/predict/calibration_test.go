package predict

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/sidecar"
	"pgregory.net/rapid"
)

// The closed form of a neuron's energy is the integral it stands for.
func TestEnergy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mu := rapid.Float64Range(-4, 4).Draw(t, "mu")
		sigma := rapid.Float64Range(0.05, 3).Draw(t, "sigma")
		const steps = 4000
		sum := 0.0
		for i := range steps {
			z := -8 + 16*(float64(i)+0.5)/steps
			v := max(0, mu+sigma*z)
			sum += v * v * math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) * 16 / steps
		}
		if got := energy(mu, sigma); math.Abs(got-sum) > 1e-6*(1+sum) {
			t.Fatalf("mu %v sigma %v: got %v, want %v", mu, sigma, got, sum)
		}
	})
}

// The bar is where the energy is what is wanted.
func TestBar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := math.Exp(rapid.Float64Range(-40, 16).Draw(t, "log least"))
		sigma := rapid.Float64Range(0, 3).Draw(t, "sigma")
		b := bar(least, sigma)
		if sigma > 0 && b < -11*sigma {
			return // so little is wanted that everyone is above
		}
		if got := energy(b, sigma); math.Abs(got-least) > 1e-10*least {
			t.Fatalf("least %v sigma %v: bar %v has energy %v", least, sigma, b, got)
		}
	})
	if !math.IsInf(bar(math.Inf(1), 1), 1) {
		t.Error("got a finite bar for a neuron without a second half")
	}
}

// Fit finds the line that samples were drawn around.
func TestFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	score, pre := make([]float32, 5000), make([]float32, 5000)
	for i := range score {
		score[i] = float32(r.NormFloat64()*2 - 1)
		pre[i] = 0.8*score[i] - 0.3 + 0.25*float32(r.NormFloat64())
	}
	m := Fit(score, pre)
	if math.Abs(m.Slope-0.8) > 0.01 || math.Abs(m.Offset+0.3) > 0.02 || math.Abs(m.Sigma-0.25) > 0.01 {
		t.Errorf("got %+v, want slope 0.8, offset -0.3, sigma 0.25", m)
	}
	if m := Fit([]float32{1, 1, 1}, []float32{2, 3, 4}); m.Slope != 0 || m.Offset != 3 || math.IsNaN(m.Sigma) {
		t.Errorf("scores that never vary: got %+v, want the mean", m)
	}
}

func calibration() *Calibration {
	c := &Calibration{Floor: FloorPerplexity, Text: "a book", Tokens: 9, Layers: make([]LayerCalibration, 2)}
	for l := range c.Layers {
		for _, of := range calibrationTensors {
			*of(&c.Layers[l]) = []float32{1, 2.5, float32(l)}
		}
		c.Layers[l].Silent = []bool{false, l == 1, true}
	}
	c.Layers[0].Kind = KindLowRank
	c.Layers[1].Codes = Codes{Bits: 3, Rows: slices.Repeat([]byte{5, 200, 77}, 3*2*32)} // inputs of 300
	for i := range 5 {
		c.Points = append(c.Points, Point{MinEnergy: float64(i), PPLChange: 0.001 * float64(i*i), KL: 0.0005 * float64(i)})
	}
	return c
}

func TestCalibrationSection(t *testing.T) {
	want := calibration()
	sec, err := want.Section()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadCalibration(sec, 2, 300, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	bad := func(name string, layers, ffn int, change func(*sidecar.Section)) {
		s, _ := calibration().Section()
		change(&s)
		if _, err := ReadCalibration(s, layers, 300, ffn); err == nil || !strings.Contains(err.Error(), "predict: calibration: ") {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
	bad("another model", 3, 3, func(*sidecar.Section) {})
	bad("no tensor", 2, 3, func(s *sidecar.Section) { delete(s.Tensors, "sigma") })
	bad("no JSON", 2, 3, func(s *sidecar.Section) { s.JSON = []byte("{") })
	bad("no points", 2, 3, func(s *sidecar.Section) { s.JSON = []byte("{}") })
	bad("silent neurons of another model", 2, 3, func(s *sidecar.Section) {
		t := s.Tensors["silent"]
		t.Shape, t.Data = []int64{2, 2}, t.Data[:4]
		s.Tensors["silent"] = t
	})
	bad("dead layer", 2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"points":[{}],"dead_layers":[2]}`) })
	bad("layers of a point", 2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"points":[{"layers":[{}]}]}`) })
	bad("floor", 2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"points":[{}],"floor":"hope"}`) })
	bad("kind", 2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"points":[{}],"kinds":{"0":"magic"}}`) })
	bad("kind of no layer", 2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"points":[{}],"kinds":{"2":"gate"}}`) })
	bad("no codes", 2, 3, func(s *sidecar.Section) { delete(s.Tensors, "codes.1") })
	for name, change := range map[string]string{"too many bits": `"1":4`, "no bits": `"1":0`, "other bits": `"1":1`, "bits of no layer": `"2":3`} {
		bad(name, 2, 3, func(s *sidecar.Section) {
			s.JSON = []byte(strings.Replace(string(s.JSON), `"1":3`, change, 1))
		})
	}
	bad("codes of fewer neurons", 2, 3, func(s *sidecar.Section) {
		t := s.Tensors["codes.1"]
		t.Shape, t.Data = []int64{2, t.Shape[1]}, t.Data[:2*t.Shape[1]]
		s.Tensors["codes.1"] = t
	})
	bad("codes of another shape", 2, 3, func(s *sidecar.Section) {
		t := s.Tensors["codes.1"]
		t.Shape = []int64{3, t.Shape[1] + 1}
		s.Tensors["codes.1"] = t
	})
	bad("NaN", 2, 3, func(s *sidecar.Section) {
		for i := range 4 {
			s.Tensors["norm"].Data[i] = 0xff
		}
	})
}

func TestChoose(t *testing.T) {
	c := calibration() // costs 0, .001, .004, .009, .016
	for _, x := range []struct {
		quality float64
		point   float64
		ok      bool
	}{{0, 0, true}, {0.0009, 0, true}, {0.005, 2, true}, {1, 4, true}} {
		if p, ok := c.Choose(x.quality); p.MinEnergy != x.point || ok != x.ok {
			t.Errorf("quality %v: got point %v, %v, want %v, %v", x.quality, p.MinEnergy, ok, x.point, x.ok)
		}
	}
	c.Points[0].KL = 0.01 // by luck its perplexity did not rise
	if p, ok := c.Choose(0.005); p.MinEnergy != 0 || ok {
		t.Errorf("got point %v, %v, want the most careful, and false", p.MinEnergy, ok)
	}
}

// A neuron's bar is lower the longer its second half is, at the same energy of
// the output; one without a second half is never worth computing.
func TestBias(t *testing.T) {
	l := LayerCalibration{Offset: []float32{1, 1, 1}, Sigma: []float32{0, 0, 0}, Norm: []float32{1, 4, 0}}
	got := make([]float32, 3)
	l.Bias(got, 0.25) // an activation a adds a*a*norm: bars at 0.5 and 0.25
	if got[0] != 0.5 || got[1] != 0.75 || !math.IsInf(float64(got[2]), -1) {
		t.Errorf("got %v, want 0.5, 0.75 and minus infinity", got)
	}
	l.Silent = []bool{false, true, true}
	l.Bias(got, 0.25)
	if got[0] != 0.5 || got[1] != 1 || got[2] != 1 {
		t.Errorf("got %v, want 0.5, and no bar for silent neurons", got)
	}
}

// A layer's own energy counts before the point's; a floor of recall holds where
// every layer does.
func TestPointLayers(t *testing.T) {
	p := Point{MinEnergy: 3, Layers: []LayerPoint{{RecallWeighted: 0.97, MLPError: 0.1}, {MinEnergy: 2, RecallWeighted: 0.95, MLPError: 0.2}}}
	if p.LayerEnergy(0) != 3 || p.LayerEnergy(1) != 2 || p.LayerEnergy(7) != 3 {
		t.Errorf("got energies %v, %v, %v, want 3, 2, 3", p.LayerEnergy(0), p.LayerEnergy(1), p.LayerEnergy(7))
	}
	c := &Calibration{Floor: FloorRecall, Points: []Point{p}}
	if _, ok := c.Choose(0); !ok {
		t.Error("got a floor of recall that does not hold, want one that does")
	}
	for _, bad := range []LayerPoint{{RecallWeighted: 0.949, MLPError: 0.1}, {RecallWeighted: 0.99, MLPError: 0.21}} {
		p.Layers[1] = bad
		if _, ok := c.Choose(1); ok {
			t.Errorf("%+v: got a floor of recall that holds", bad)
		}
	}
}

// Whatever a sidecar says, it is read or refused.
func FuzzReadCalibration(f *testing.F) {
	sec, err := calibration().Section()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(sec.JSON), int64(3), sec.Tensors["codes.1"].Data)
	f.Add([]byte(`{"points":[{}],"bits":{"0":1}}`), int64(1), []byte{1})
	f.Fuzz(func(t *testing.T, json []byte, rows int64, codes []byte) {
		s, _ := calibration().Section()
		s.JSON = json
		s.Tensors["codes.1"] = sidecar.Tensor{DType: "U8", Shape: []int64{rows, int64(len(codes)) / max(1, rows)}, Data: codes}
		c, err := ReadCalibration(s, 2, 300, 3)
		if err != nil {
			return
		}
		if got := c.Layers[1].Codes; got.Bits > 0 && len(got.Rows) != 3*got.Bits*64 {
			t.Errorf("got %d bytes for 3 rows of %d bits", len(got.Rows), got.Bits)
		}
	})
}
