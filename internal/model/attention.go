package model

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// SparseAttentionLayer is the attention half of a decoder layer. Attention is
// dense; its part in sparsity is to start the reads of its layer's MLP and to
// hide their time behind its own.
type SparseAttentionLayer struct {
	*Parts
	index int
	w     *LayerWeights
}

// Forward adds the layer's attention to the residual stream.
func (l *SparseAttentionLayer) Forward(ec *ExecutionContext) error {
	w := l.w
	if err := l.prefetch(ec); err != nil {
		return err
	}
	in := ec.x
	if l.Profile.PreNorm {
		l.Backend.Norm(ec.norm, ec.x, w.AttnNorm)
		in = ec.norm
	}
	for _, p := range []struct {
		y device.Act
		w *Matrix
	}{{ec.q, &w.Q}, {ec.k, &w.K}, {ec.v, &w.V}} {
		if err := l.linear(ec, p.y, in, p.w); err != nil {
			return err
		}
	}
	kind := l.Profile.Kind(l.index)
	for _, p := range []struct {
		x    device.Act
		norm *device.NormParams
	}{{ec.q, w.QNorm}, {ec.k, w.KNorm}} {
		if p.norm != nil {
			heads := p.x
			if l.Profile.QKNorm == config.QKNormPerHead {
				heads = p.x.Split(l.Profile.HeadDim())
			}
			l.Backend.Norm(heads, heads, *p.norm)
		}
		l.clip(p.x)
		if kind.RoPE.Dims > 0 {
			l.Backend.Rotate(p.x, ec.angles[l.Profile.KindIndex(l.index)], l.Profile.HeadDim(), kind.RoPE.Interleaved)
		}
	}
	l.clip(ec.v)
	l.Backend.StoreKV(l.KV, l.index, ec.Spans, ec.k, ec.v)
	l.Backend.Attend(ec.attn, ec.q, l.KV, l.index, ec.Spans, device.AttendParams{
		Heads:   l.Profile.Heads,
		KVHeads: l.Profile.KVHeads,
		HeadDim: l.Profile.HeadDim(),
		Scale:   l.Profile.ScoreScale(),
		SoftCap: l.Profile.AttnSoftCap,
		Window:  kind.Window,
		Sinks:   w.Sinks,
	})
	if err := l.linear(ec, ec.out, ec.attn, &w.O); err != nil {
		return err
	}
	l.addResidual(ec, w.AttnPostNorm)
	if !l.Profile.PreNorm {
		l.Backend.Norm(ec.x, ec.x, w.AttnNorm)
	}
	return nil
}

// clip clamps queries, keys or values where the model does.
func (l *SparseAttentionLayer) clip(x device.Act) {
	if c := l.Profile.QKVClip; c > 0 {
		l.Backend.Clip(x, c)
	}
}

// prefetch starts reads for a forecast of the MLP's input: what it would be if
// attention added nothing. In large models, where a layer changes the residual
// stream little, the forecast's direction is within a degree or two.
func (l *SparseAttentionLayer) prefetch(ec *ExecutionContext) error {
	if !l.Profile.Sparse() || ec.audits(l.index) {
		return nil // everything is computed, and the forecast's memory is taken
	}
	norm := l.w.MLPNorm
	if !l.Profile.PreNorm {
		norm = l.w.AttnNorm
	}
	l.Backend.Norm(ec.ahead, ec.x, norm)
	return l.Coordinator.Prefetch(ec.Step, l.index, ec.ahead)
}
