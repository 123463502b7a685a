package model

import (
	"math/bits"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// SparseMLPLayer is the MLP half of a decoder layer. It computes the neurons
// that the coordinator's Work names: the first parts, and of gated neurons
// the second ones of those that their gates open, in whatever order their
// bundles arrive, then the last parts in ascending order, in one pass, so
// that the sum is the same however the bytes came.
type SparseMLPLayer struct {
	*Parts
	index int
	w     *LayerWeights
}

// apply sets y to the bias plus the sum of the wanted neurons.
func (l *SparseMLPLayer) apply(ec *ExecutionContext, y, x device.Act) error {
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
	work, err := l.Coordinator.Fetch(ec.Step, l.index, x)
	if err != nil {
		return err
	}
	return l.segments(ec, work, x, func(seg device.Work, h []float32) {
		l.Backend.Down(y, h, work.Memory, seg)
		ec.count(seg, h)
		if ec.Observe != nil {
			ec.Observe(l.index, x.Rows, seg, h)
		}
	})
}

// segments computes the first parts of the work's neurons and hands over each
// segment with its activations [neurons, tokens], whose bundles are in memory
// until then returns.
func (l *SparseMLPLayer) segments(ec *ExecutionContext, work *transfer.Work, x device.Act, then func(seg device.Work, h []float32)) error {
	again := false
	for s := range work.Segments {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		seg := s.Units
		seg.Bias, seg.SecondBias, seg.Act, seg.Threshold = l.w.FirstBias, l.w.SecondBias, l.Profile.Activation, l.Profile.Threshold
		h := ec.hidden[:len(seg.IDs)*x.Rows]
		for there, err := range s.Arrivals {
			if err != nil {
				return err
			}
			seg.SameInput, again = again, true
			l.Backend.Up(h, x, work.Memory, seg, there)
		}
		then(seg, h)
	}
	return nil
}

// audit is apply for a step with an audit: it computes every neuron twice
// over, with and without those that are not asked for.
func (l *SparseMLPLayer) audit(ec *ExecutionContext, y, x device.Act) error {
	asked, err := l.Coordinator.Asked(ec.Step, l.index, x)
	if err != nil {
		return err
	}
	var count transfer.Stats // what an audit reads is not the predictor's
	work, err := l.Coordinator.Fetch(transfer.Step{Exact: true, Count: &count}, l.index, x)
	if err != nil {
		return err
	}
	exact := ec.ahead // no forecast is made in an audit
	for t := range y.Rows {
		copy(exact.Row(t), y.Row(t))
	}
	a := &ec.Audit.Layers[l.index]
	err = l.segments(ec, work, x, func(seg device.Work, h []float32) {
		l.Backend.Down(exact, h, work.Memory, seg)
		before := *a
		a.leaveOut(seg, h, asked, x.Rows)
		ec.Stats.Computed += a.Computed - before.Computed
		ec.Stats.Active += a.Found - before.Found
		seg.SkipZero = true
		l.Backend.Down(y, h, work.Memory, seg)
	})
	ec.Stats.Transfer.Stall += count.Stall
	if err != nil {
		return err
	}
	a.Tokens += int64(x.Rows)
	a.Neurons += int64(x.Rows) * int64(l.Profile.FFN)
	for t := range y.Rows {
		for j, v := range exact.Row(t) {
			d := float64(y.Row(t)[j]) - float64(v)
			a.Error += d * d
			a.Output += float64(v) * float64(v)
		}
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
