package predict

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Calibration is what real text says about a model's sketch, and the operating
// points that follow.
//
// A neuron is worth computing if what it is expected to add to the squared
// error of the MLP's output, were it left out, is above MinEnergy: that weighs
// how surely it fires by how strongly, by the length of its last part, and in
// neurons of three parts by how much the second multiplies by.
// One MinEnergy for all layers puts the cost of every neuron on one scale, the
// residual stream's, so moving it moves along the curve of computed neurons
// against quality.
type Calibration struct {
	Layers []LayerCalibration `json:"-"`
	Points []Point            `json:"points"` // by MinEnergy, the most careful first
	Floor  Floor              `json:"floor"`  // what the points hold
	// DType is the element type of the MLP's weights that it was made with.
	// Those of others have other errors, so that its points are not theirs.
	DType  string `json:"dtype,omitempty"`
	Text   string `json:"text"`   // what it was calibrated on
	Tokens int    `json:"tokens"` // of the text: for the moments and the points
}

// LayerCalibration is one layer's. Slices are [ffn] f32.
type LayerCalibration struct {
	// Silent says which neurons never fired. What is fitted to them says
	// nothing of when they would; see predict.Silent. In a layer that hardly
	// fired at all everyone is silent, and its sketch is the pack's.
	Silent []bool
	// Kind is who predicts: what costs least at the same loss.
	Kind Kind
	// Codes are the layer's own, of a sketch that has them.
	Codes                Codes
	Slope, Offset, Sigma []float32 // see Moments
	Norm                 []float32 // squared length of the last part, times the mean square of what the second of three multiplies by
}

// Floor says what quality means for a model.
type Floor string

// The floors.
const (
	// FloorPerplexity is a rise of perplexity, chosen at run time among the
	// points.
	FloorPerplexity Floor = "perplexity"
	// FloorRecall is, in every layer, recall weighted by |activation| of at
	// least LeastRecall and a relative error of the MLP's output of at most
	// MostError. It stands in for the other where perplexity means nothing:
	// with synthetic weights. There is one point.
	FloorRecall Floor = "recall"
)

// What FloorRecall demands of every layer.
const (
	LeastRecall = 0.95
	MostError   = 0.2
)

// Kind is a way to find out which neurons of a layer are worth computing.
type Kind string

// The kinds.
const (
	KindSketch  Kind = ""        // the pack's sketch, or the layer's own codes
	KindLowRank Kind = "lowrank" // factors of low rank
	KindGate    Kind = "gate"    // the first parts themselves: predict nothing
)

// Point is one setting and what it costs, measured on text that the moments
// have not seen.
type Point struct {
	MinEnergy      float64 `json:"min_energy"`
	PPLChange      float64 `json:"ppl_change"` // relative
	KL             float64 `json:"kl"`         // nats
	Recall         float64 `json:"recall"`
	RecallWeighted float64 `json:"recall_weighted"`
	MLPError       float64 `json:"mlp_error"`
	Active         float64 `json:"active"`   // share of all neurons
	Computed       float64 `json:"computed"` // share of all neurons
	// Layers is what each layer does, [layers].
	Layers []LayerPoint `json:"layers,omitempty"`
}

// LayerPoint is one layer at a point.
type LayerPoint struct {
	// MinEnergy is the layer's own, 0 where it is the point's.
	MinEnergy      float64 `json:"min_energy,omitempty"`
	RecallWeighted float64 `json:"recall_weighted"`
	MLPError       float64 `json:"mlp_error"`
}

// LayerEnergy is the MinEnergy that holds in a layer.
func (p Point) LayerEnergy(layer int) float64 {
	if layer < len(p.Layers) && p.Layers[layer].MinEnergy > 0 {
		return p.Layers[layer].MinEnergy
	}
	return p.MinEnergy
}

// ByRecall reports whether p is a point of FloorRecall, at which each layer has
// a threshold of its own.
func (p Point) ByRecall() bool {
	for _, l := range p.Layers {
		if l.MinEnergy > 0 {
			return true
		}
	}
	return false
}

// Cost is the relative change of perplexity that a point is taken to cost: the
// measured one or, since that is noisy on a few thousand tokens and can be
// below zero by luck, costPerKL for each nat of divergence, whichever is more.
func (p Point) Cost() float64 { return max(p.PPLChange, costPerKL*p.KL) }

// HoldsRecall reports whether every layer of a point holds FloorRecall.
func (p Point) HoldsRecall() bool {
	for _, l := range p.Layers {
		if l.RecallWeighted < LeastRecall || l.MLPError > MostError {
			return false
		}
	}
	return true
}

// costPerKL is the change of perplexity for a nat of divergence: 1 if the exact
// model's probabilities were the text's own. Measured on the embedded model and
// two held-out texts of 8,176 tokens: 1.4 to 1.6.
const costPerKL = 1.5

// Choose is the point that computes least while the cost of it, and of every
// more careful point, is at most quality (0.005 is 0.5 %). If not even the
// first is that good, it is the first, and false. Where the floor is one of
// recall, quality is not asked.
func (c *Calibration) Choose(quality float64) (Point, bool) {
	best, ok := c.Points[0], false
	if c.Floor == FloorRecall {
		return best, best.HoldsRecall()
	}
	for _, p := range c.Points {
		if p.Cost() > quality {
			break
		}
		best, ok = p, true
	}
	return best, ok
}

// Uses reports whether a layer is predicted by k.
func (c *Calibration) Uses(k Kind) bool {
	return slices.ContainsFunc(c.Layers, func(l LayerCalibration) bool { return l.Kind == k })
}

// IsSilent reports whether a neuron is silent.
func (l *LayerCalibration) IsSilent(i int) bool { return i < len(l.Silent) && l.Silent[i] }

// Bias is what is added to a layer's scores times Slope so that a neuron worth
// computing at least comes out above zero. Silent neurons have no bar.
func (l *LayerCalibration) Bias(dst []float32, least float64) {
	for i := range dst {
		if l.IsSilent(i) {
			dst[i] = l.Offset[i]
			continue
		}
		want := math.Inf(1)
		if l.Norm[i] > 0 {
			want = least / float64(l.Norm[i])
		}
		dst[i] = float32(float64(l.Offset[i]) - bar(want, float64(l.Sigma[i])))
	}
}

// CalibrationSection is the name of a sidecar's section.
const CalibrationSection = "sketch"

// sectionJSON is the section's JSON.
type sectionJSON struct {
	*Calibration
	DeadLayers []int        `json:"dead_layers,omitempty"` // all silent, in older sidecars
	Kinds      map[int]Kind `json:"kinds,omitempty"`       // but sketches
	Bits       map[int]int  `json:"bits,omitempty"`        // of the layers' own codes
}

// silentTensor is the name of the tensor that says which neurons are silent.
const silentTensor = "silent"

// Section is the calibration as a sidecar's section: tensors slope, offset,
// sigma and norm, each F32 [layers, ffn], silent, U8 [layers, ffn] of 0 and 1,
// and codes.N of layers that have them.
func (c *Calibration) Section() (sidecar.Section, error) {
	j := sectionJSON{Calibration: c}
	ffn := len(c.Layers[0].Slope)
	shape := []int64{int64(len(c.Layers)), int64(ffn)}
	tensors := make(map[string]sidecar.Tensor)
	for name, of := range calibrationTensors {
		data := make([]byte, 0, 4*len(c.Layers)*ffn)
		for l := range c.Layers {
			for _, v := range *of(&c.Layers[l]) {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
		}
		tensors[name] = sidecar.Tensor{DType: "F32", Shape: shape, Data: data}
	}
	silent := make([]byte, len(c.Layers)*ffn)
	tensors[silentTensor] = sidecar.Tensor{DType: "U8", Shape: shape, Data: silent}
	j.Kinds, j.Bits = make(map[int]Kind), make(map[int]int)
	for l, layer := range c.Layers {
		for i, is := range layer.Silent {
			if is {
				silent[l*ffn+i] = 1
			}
		}
		if layer.Kind != KindSketch {
			j.Kinds[l] = layer.Kind
		}
		if own := layer.Codes; own.Bits > 0 {
			j.Bits[l] = own.Bits
			tensors[codesTensor(l)] = sidecar.Tensor{DType: "U8", Shape: []int64{int64(ffn), int64(len(own.Rows) / ffn)}, Data: own.Rows}
		}
	}
	b, err := json.Marshal(j)
	return sidecar.Section{JSON: b, Tensors: tensors}, err
}

// calibrationTensors are the section's tensors by name.
var calibrationTensors = map[string]func(*LayerCalibration) *[]float32{
	"slope":  func(l *LayerCalibration) *[]float32 { return &l.Slope },
	"offset": func(l *LayerCalibration) *[]float32 { return &l.Offset },
	"sigma":  func(l *LayerCalibration) *[]float32 { return &l.Sigma },
	"norm":   func(l *LayerCalibration) *[]float32 { return &l.Norm },
}

// ReadCalibration reads a section for a model of layers layers of ffn neurons
// with inputs of length d.
func ReadCalibration(s sidecar.Section, layers, d, ffn int) (*Calibration, error) {
	c := &Calibration{}
	j := sectionJSON{Calibration: c}
	if err := json.Unmarshal(s.JSON, &j); err != nil {
		return nil, fmt.Errorf("predict: calibration: %w", err)
	}
	if len(c.Points) == 0 {
		return nil, fmt.Errorf("predict: calibration: got no points, want at least 1")
	}
	for i, p := range c.Points {
		if n := len(p.Layers); n != 0 && n != layers {
			return nil, fmt.Errorf("predict: calibration: point %d: got %d layers, want %d", i, n, layers)
		}
	}
	switch c.Floor {
	case "":
		c.Floor = FloorPerplexity
	case FloorPerplexity, FloorRecall:
	default:
		return nil, fmt.Errorf("predict: calibration: floor: got %q, want %s or %s", c.Floor, FloorPerplexity, FloorRecall)
	}
	c.Layers = make([]LayerCalibration, layers)
	for name, of := range calibrationTensors {
		data, err := dataOf(s, name, "F32", layers, ffn)
		if err != nil {
			return nil, err
		}
		for l := range c.Layers {
			v := make([]float32, ffn)
			for i := range v {
				v[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*(l*ffn+i):]))
				if f := float64(v[i]); math.IsNaN(f) || math.IsInf(f, 0) {
					return nil, fmt.Errorf("predict: calibration: tensor %q: got %v for neuron %d of layer %d, want a finite number", name, f, i, l)
				}
			}
			*of(&c.Layers[l]) = v
		}
	}
	if err := readSilent(c.Layers, s, j.DeadLayers, ffn); err != nil {
		return nil, err
	}
	for l, k := range j.Kinds {
		if l < 0 || l >= layers || k != KindLowRank && k != KindGate {
			return nil, fmt.Errorf("predict: calibration: kind of layer %d: got %q, want one of %d layers and %s or %s", l, k, layers, KindLowRank, KindGate)
		}
		c.Layers[l].Kind = k
	}
	return c, readCodes(c.Layers, s, j.Bits, d, ffn)
}

// readSilent sets which neurons are silent. A sidecar that does not say it is
// an older one, which calls whole layers dead.
func readSilent(layers []LayerCalibration, from sidecar.Section, dead []int, ffn int) (err error) {
	data := make([]byte, len(layers)*ffn)
	if _, ok := from.Tensors[silentTensor]; ok {
		if data, err = dataOf(from, silentTensor, "U8", len(layers), ffn); err != nil {
			return err
		}
	}
	for l := range layers {
		layers[l].Silent = make([]bool, ffn)
		for i := range ffn {
			layers[l].Silent[i] = data[l*ffn+i] != 0
		}
	}
	for _, l := range dead {
		if l < 0 || l >= len(layers) {
			return fmt.Errorf("predict: calibration: got dead layer %d, want 0 to %d", l, len(layers)-1)
		}
		for i := range layers[l].Silent {
			layers[l].Silent[i] = true
		}
	}
	return nil
}

// dataOf is the data of a section's tensor of rows x cols elements.
func dataOf(s sidecar.Section, name, dtype string, rows, cols int) ([]byte, error) {
	size := map[string]int{"F32": 4, "U8": 1}[dtype] * rows * cols
	t := s.Tensors[name]
	if t.DType != dtype || !slices.Equal(t.Shape, []int64{int64(rows), int64(cols)}) || len(t.Data) != size {
		return nil, fmt.Errorf("predict: calibration: tensor %q: got %s %v, want %s [%d %d]: train again", name, t.DType, t.Shape, dtype, rows, cols)
	}
	return t.Data, nil
}
