package model

import "github.com/sparseflow/sparseflow/internal/device"

// Model computes steps. One goroutine uses it at a time.
type Model struct {
	Parts
	layers []layer
}

type layer struct {
	attn     SparseAttentionLayer
	w        *LayerWeights
	mlp      mlp
	matrices []*Matrix // attention's and the MLP's, in the order of their products
}

// New makes a model.
func New(p Parts) *Model {
	m := &Model{Parts: p}
	for i := range p.Weights.Layers {
		w := &p.Weights.Layers[i]
		l := layer{attn: SparseAttentionLayer{&m.Parts, i, w}, w: w, matrices: w.matrices()}
		switch {
		case p.Profile.Sparse():
			l.mlp = &SparseMLPLayer{&m.Parts, i, w}
		case p.Profile.MoE(i).Experts > 0:
			x := newExpertsLayer(&m.Parts, i, w)
			if i > 0 {
				if before, ok := m.layers[i-1].mlp.(*ExpertsLayer); ok {
					before.next = x
				}
			}
			l.mlp = x
		default:
			l.mlp = &DenseMLPLayer{&m.Parts, w}
		}
		m.layers = append(m.layers, l)
	}
	return m
}

// Forward computes the tokens ids of ec.Spans through all layers; their keys
// and values are in the KV cache afterwards, for which the sequences must
// have room. Final and Logits then give the result.
//
// After an error the spans' keys and values are not to be used.
func (m *Model) Forward(ec *ExecutionContext, ids []int32) error {
	err := m.forward(ec, ids)
	if err != nil {
		m.Stream.Reset()
	}
	return err
}

func (m *Model) forward(ec *ExecutionContext, ids []int32) error {
	ec.begin(m.Profile, len(ids))
	if err := m.Loaded(ec.Ctx, Shared); err != nil {
		return err
	}
	if err := m.embed(ec, ids); err != nil {
		return err
	}
	for i := range m.layers { // of all, so that one layer's matrices are read while another is computed
		m.queue(m.layers[i].matrices...)
	}
	for i := range m.layers {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		if err := m.Loaded(ec.Ctx, i); err != nil {
			return err
		}
		l := &m.layers[i]
		if err := l.attn.Forward(ec); err != nil {
			return err
		}
		if err := m.mlpHalf(ec, l.w, l.mlp); err != nil {
			return err
		}
	}
	if n := m.Weights.FinalNorm; n != nil {
		m.Backend.Norm(ec.x, ec.x, *n)
	}
	ec.Stats.Tokens += int64(len(ids))
	return nil
}

// Logits computes the logits [n, vocab] of the rows x, [n, d], of Final or of
// an earlier step's. They take rows of the memory for LogitRows rows from row
// on, and are valid until these are taken again.
func (m *Model) Logits(ec *ExecutionContext, x device.Act, row int) (device.Act, error) {
	if p := m.Weights.ProjectOut; p != nil {
		y := ec.embed.Rowspan(0, x.Rows)
		if err := m.product(ec, y, x, p); err != nil {
			return device.Act{}, err
		}
		x = y
	}
	y := ec.logits.Rowspan(row, x.Rows)
	if err := m.product(ec, y, x, &m.Weights.Head); err != nil {
		return y, err
	}
	scale(y, m.Profile.LogitScale)
	if c := m.Profile.LogitSoftCap; c > 0 {
		m.Backend.SoftCap(y, c)
	}
	return y, nil
}
