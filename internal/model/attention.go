package model

import (
	"math"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
)

// SparseAttentionLayer is the attention half of a decoder layer. Attention is
// dense; its part in sparsity is to start the reads of its layer's MLP and to
// hide their time behind its own.
type SparseAttentionLayer struct {
	m     *Model
	index int
	w     *LayerWeights
}

// Forward adds the layer's attention to the residual stream.
func (l *SparseAttentionLayer) Forward(ec *ExecutionContext) error {
	begin := time.Now()
	m, w := l.m, l.w
	m.queue(&w.Q, &w.K, &w.V, &w.O)
	if err := l.lookahead(ec); err != nil {
		return err
	}
	in := ec.x
	if m.Profile.PreNorm {
		m.Backend.Norm(ec.norm, ec.x, w.AttnNorm)
		in = ec.norm
	}
	for _, p := range []struct {
		y device.Act
		w *Matrix
	}{{ec.q, &w.Q}, {ec.k, &w.K}, {ec.v, &w.V}} {
		if err := m.linear(ec, p.y, in, p.w); err != nil {
			return err
		}
	}
	m.Backend.StoreKV(m.KV, l.index, ec.Spans, ec.k, ec.v)
	m.Backend.Attend(ec.attn, ec.q, m.KV, l.index, ec.Spans, device.AttendParams{
		Heads:   m.Profile.Heads,
		KVHeads: m.Profile.KVHeads,
		HeadDim: m.Profile.HeadDim(),
		Scale:   float32(1 / math.Sqrt(float64(m.Profile.HeadDim()))),
	})
	if err := m.linear(ec, ec.out, ec.attn, &w.O); err != nil {
		return err
	}
	m.Backend.Add(ec.x, ec.out)
	if !m.Profile.PreNorm {
		m.Backend.Norm(ec.x, ec.x, w.AttnNorm)
	}
	ec.Stats.Attend += time.Since(begin)
	return nil
}

// lookahead forecasts the MLP's input: what it would be if attention added
// nothing. In large models, where a layer changes the residual stream little,
// the forecast's direction is within a degree or two.
func (l *SparseAttentionLayer) lookahead(ec *ExecutionContext) error {
	if ec.audits(l.index) {
		return nil // everything is computed, and the forecast's memory is taken
	}
	norm := l.w.MLPNorm
	if !l.m.Profile.PreNorm {
		norm = l.w.AttnNorm
	}
	l.m.Backend.Norm(ec.ahead, ec.x, norm)
	return l.m.Coordinator.Lookahead(l.index, ec.ahead, ec.Decode)
}
