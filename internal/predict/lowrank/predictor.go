package lowrank

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Predictor scores the neurons of each layer by its factors, multiplied as they
// are stored by a backend.
type Predictor struct {
	backend device.Backend
	layers  []Layer
	hidden  []float32 // [tokens, rank] scratch
}

var _ predict.ActivationPredictor = (*Predictor)(nil)

// Layer is one layer's factors as they are multiplied. The zero Layer is one
// without a predictor.
type Layer struct {
	A, B device.Mat // [rank, d], [ffn, rank] Q8_0, float16 where rows are not whole blocks
	Bias []float32  // [ffn]
}

// Layer is f as it is stored. Values that float16 cannot hold are an error.
// The bias is shared.
func (f Factors) Layer() (Layer, error) {
	t, err := f.Encode("")
	if err != nil {
		return Layer{}, err
	}
	return stored(f, t[0].Data, t[1].Data), nil
}

func stored(f Factors, a, b []byte) Layer {
	return Layer{
		A:    device.Mat{Data: a, DType: elem(f.D), Rows: f.Rank, Cols: f.D},
		B:    device.Mat{Data: b, DType: elem(f.Rank), Rows: f.FFN, Cols: f.Rank},
		Bias: f.Bias,
	}
}

// Empty reports whether a layer has no predictor.
func (l *Layer) Empty() bool { return l.A.Rows == 0 }

// Bytes is the size of a layer's factors.
func (l *Layer) Bytes() int64 {
	return int64(len(l.A.Data)) + int64(len(l.B.Data)) + tensor.F32.RowBytes(len(l.Bias))
}

// NewPredictor is a predictor of layers [layers], which it shares, on backend,
// which the caller keeps and closes.
func NewPredictor(backend device.Backend, layers []Layer) *Predictor {
	return &Predictor{backend: backend, layers: layers}
}

// Scores sets scores [tokens, ffn] to the log-odds, for trained factors, that
// each neuron is active on x [tokens, d]. Results do not depend on how many
// tokens are scored together.
func (p *Predictor) Scores(layer, tokens int, x, scores []float32) error {
	if layer < 0 || layer >= len(p.layers) || p.layers[layer].Empty() {
		return fmt.Errorf("lowrank: scores: got layer %d, want one of %d that has factors", layer, len(p.layers))
	}
	l := &p.layers[layer]
	d, rank, ffn := l.A.Cols, l.A.Rows, l.B.Rows
	if tokens < 0 || len(x) != tokens*d || len(scores) != tokens*ffn {
		return fmt.Errorf("lowrank: scores: layer %d: got %d inputs and %d scores for %d tokens, want %d and %d a token",
			layer, len(x), len(scores), tokens, d, ffn)
	}
	if len(p.hidden) < tokens*rank {
		p.hidden = make([]float32, tokens*rank)
	}
	z := device.Act{Data: p.hidden, Rows: tokens, Cols: rank, Stride: rank}
	p.backend.Linear(z, device.Act{Data: x, Rows: tokens, Cols: d, Stride: d}, l.A, nil)
	p.backend.Linear(device.Act{Data: scores, Rows: tokens, Cols: ffn, Stride: ffn}, z, l.B, l.Bias)
	return nil
}
