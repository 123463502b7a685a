package lowrank

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Predictor scores the neurons of each layer by its factors, multiplied as they
// are stored by a backend.
type Predictor struct {
	backend device.Backend
	layers  []Layer
	hidden  []float32 // [tokens, rank] scratch
}

var _ predict.ActivationPredictor = (*Predictor)(nil)

// NewPredictor is a predictor of layers [layers], which it shares, on backend,
// which the caller keeps and closes.
func NewPredictor(backend device.Backend, layers []Layer) *Predictor {
	return &Predictor{backend: backend, layers: layers}
}

// Scores sets scores [tokens, ffn] for x [tokens, d]. Results do not depend on
// how many tokens are scored together.
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
