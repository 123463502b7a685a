package lowrank

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Predictor scores the neurons of each layer by its factors, stored as
// float16 and multiplied by a backend.
type Predictor struct {
	backend device.Backend
	layers  []stored
	hidden  []float32 // [tokens, rank] scratch
}

var _ predict.ActivationPredictor = (*Predictor)(nil)

// stored is one layer's factors.
type stored struct {
	a, b device.Mat
	bias []float32
}

// NewPredictor is a predictor of layers [layers] on backend, which the caller
// keeps and closes. A and B are copied and rounded to float16; biases are
// shared. Values that float16 cannot hold are an error.
func NewPredictor(backend device.Backend, layers []Factors) (*Predictor, error) {
	p := &Predictor{backend: backend}
	for l, f := range layers {
		t, err := f.Encode("")
		if err != nil {
			return nil, fmt.Errorf("lowrank: new predictor: layer %d: %w", l, err)
		}
		p.layers = append(p.layers, stored{
			a:    device.Mat{Data: t[0].Data, DType: tensor.F16, Rows: f.Rank, Cols: f.D},
			b:    device.Mat{Data: t[1].Data, DType: tensor.F16, Rows: f.FFN, Cols: f.Rank},
			bias: f.Bias,
		})
	}
	return p, nil
}

// Scores sets scores [tokens, ffn] to the log-odds, for trained factors, that
// each neuron is active on x [tokens, d]. Results do not depend on how many
// tokens are scored together.
func (p *Predictor) Scores(layer, tokens int, x, scores []float32) error {
	if layer < 0 || layer >= len(p.layers) {
		return fmt.Errorf("lowrank: scores: got layer %d, want 0 to %d", layer, len(p.layers)-1)
	}
	l := &p.layers[layer]
	d, rank, ffn := l.a.Cols, l.a.Rows, l.b.Rows
	if tokens < 0 || len(x) != tokens*d || len(scores) != tokens*ffn {
		return fmt.Errorf("lowrank: scores: layer %d: got %d inputs and %d scores for %d tokens, want %d and %d a token",
			layer, len(x), len(scores), tokens, d, ffn)
	}
	if len(p.hidden) < tokens*rank {
		p.hidden = make([]float32, tokens*rank)
	}
	z := device.Act{Data: p.hidden, Rows: tokens, Cols: rank, Stride: rank}
	p.backend.Linear(z, device.Act{Data: x, Rows: tokens, Cols: d, Stride: d}, l.a, nil)
	p.backend.Linear(device.Act{Data: scores, Rows: tokens, Cols: ffn, Stride: ffn}, z, l.b, l.bias)
	return nil
}

// Bytes is the size of all layers' factors in memory, without scratch.
func (p *Predictor) Bytes() int64 {
	var n int64
	for _, l := range p.layers {
		n += int64(len(l.a.Data)) + int64(len(l.b.Data)) + tensor.F32.RowBytes(len(l.bias))
	}
	return n
}
