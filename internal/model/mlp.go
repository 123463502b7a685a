package model

import (
	"math/bits"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// SparseMLPLayer is the MLP half of a decoder layer. It computes the neurons
// that the coordinator's Work names: the first halves in whatever order their
// bundles arrive, then the second halves in ascending order, in one pass, so
// that the sum is the same however the bytes came.
type SparseMLPLayer struct {
	m     *Model
	index int
	w     *LayerWeights
}

// Forward adds the layer's MLP to the residual stream.
func (l *SparseMLPLayer) Forward(ec *ExecutionContext) error {
	begin := time.Now()
	m := l.m
	in := ec.x
	if m.Profile.PreNorm {
		m.Backend.Norm(ec.norm, ec.x, l.w.MLPNorm)
		in = ec.norm
	}
	if err := l.neurons(ec, ec.out, in); err != nil {
		return err
	}
	m.Backend.Add(ec.x, ec.out)
	if !m.Profile.PreNorm {
		m.Backend.Norm(ec.x, ec.x, l.w.MLPNorm)
	}
	ec.Stats.MLP += time.Since(begin)
	return nil
}

// neurons sets y to the bias plus the sum of the wanted neurons.
func (l *SparseMLPLayer) neurons(ec *ExecutionContext, y, x device.Act) error {
	for t := range y.Rows {
		row := y.Row(t)
		clear(row)
		copy(row, l.w.DownBias)
	}
	if ec.audits(l.index) {
		return l.audit(ec, y, x)
	}
	if ec.ObserveInput != nil {
		ec.ObserveInput(l.index, ec.ahead, x)
	}
	work, err := l.m.Coordinator.Fetch(ec.Step, l.index, x)
	if err != nil {
		return err
	}
	return l.segments(ec, work, x, func(seg device.Work, h []float32) {
		l.m.Backend.Down(y, h, work.Memory, seg)
		ec.count(seg, h)
		if ec.Observe != nil {
			ec.Observe(l.index, x.Rows, seg, h)
		}
	})
}

// segments computes the first halves of the work's neurons and hands over each
// segment with its activations [neurons, tokens], whose bundles are in memory
// until then returns.
func (l *SparseMLPLayer) segments(ec *ExecutionContext, work *transfer.Work, x device.Act, then func(seg device.Work, h []float32)) error {
	again := false
	for s := range work.Segments {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		seg := s.Units
		seg.Bias, seg.Act = l.w.UpBias, l.m.Profile.Activation
		h := ec.hidden[:len(seg.IDs)*x.Rows]
		for there, err := range s.Arrivals {
			if err != nil {
				return err
			}
			seg.SameInput, again = again, true
			l.m.Backend.Up(h, x, work.Memory, seg, there)
		}
		then(seg, h)
	}
	return nil
}

// count adds a computed segment to the statistics.
func (ec *ExecutionContext) count(w device.Work, h []float32) {
	active, computed := 0, 0
	if w.Wants == nil {
		computed = len(h)
		for _, v := range h {
			if v != 0 {
				active++
			}
		}
	}
	tokens := len(h) / max(1, len(w.IDs))
	for i, m := range w.Wants { // most of h is of tokens that want nothing of it
		computed += bits.OnesCount64(m)
		of := h[i/w.WantWords*tokens+i%w.WantWords<<6:]
		for ; m != 0; m &= m - 1 {
			if of[bits.TrailingZeros64(m)] != 0 {
				active++
			}
		}
	}
	ec.Stats.Active += int64(active)
	ec.Stats.Computed += int64(computed)
}
