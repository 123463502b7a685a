package model

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// Audit is what the predictor gets right and wrong, by layer.
type Audit struct {
	Layers []LayerAudit
}

// NewAudit is an empty audit of a model of layers layers.
func NewAudit(layers int) *Audit { return &Audit{Layers: make([]LayerAudit, layers)} }

// LayerAudit adds up over tokens. A neuron is active if its activation is not
// zero, computed if the predictor asks for it.
type LayerAudit struct {
	Tokens, Neurons  int64   // Neurons: tokens x ffn
	Active, Computed int64   // neurons x tokens
	Found            int64   // active and computed
	ActiveWeight     float64 // sum of |activation| of the active
	FoundWeight      float64 // of these, the computed
	Error, Output    float64 // sums of squares: of the difference to the exact output, of that output
}

// audits reports whether the step audits a layer.
func (ec *ExecutionContext) audits(layer int) bool {
	return ec.Audit != nil && (ec.AuditLayer < 0 || ec.AuditLayer == layer)
}

// Add adds b to a.
func (a *LayerAudit) Add(b LayerAudit) {
	a.Tokens += b.Tokens
	a.Neurons += b.Neurons
	a.Active += b.Active
	a.Computed += b.Computed
	a.Found += b.Found
	a.ActiveWeight += b.ActiveWeight
	a.FoundWeight += b.FoundWeight
	a.Error += b.Error
	a.Output += b.Output
}

// Recall is the share of active neurons that are computed.
func (a LayerAudit) Recall() float64 { return share(float64(a.Found), float64(a.Active), 1) }

// RecallWeighted is Recall with each neuron weighted by its |activation|.
func (a LayerAudit) RecallWeighted() float64 { return share(a.FoundWeight, a.ActiveWeight, 1) }

// Precision is the share of computed neurons that are active.
func (a LayerAudit) Precision() float64 { return share(float64(a.Found), float64(a.Computed), 1) }

// ActiveShare is the share of all neurons that are active.
func (a LayerAudit) ActiveShare() float64 { return share(float64(a.Active), float64(a.Neurons), 0) }

// ComputedShare is the share of all neurons that are computed.
func (a LayerAudit) ComputedShare() float64 {
	return share(float64(a.Computed), float64(a.Neurons), 0)
}

// OutputError is the root mean square of the difference to the MLP's exact
// output, relative to that output's.
func (a LayerAudit) OutputError() float64 { return math.Sqrt(share(a.Error, a.Output, 0)) }

// share is part of all, or none where there is nothing to have a part of.
func share(part, all, none float64) float64 {
	if all == 0 {
		return none
	}
	return part / all
}

// audit is neurons for a step with an audit: it computes every neuron twice
// over, with and without those that are not asked for.
func (l *SparseMLPLayer) audit(ec *ExecutionContext, y, x device.Act) error {
	asked, err := l.m.Coordinator.Asked(ec.Step, l.index, x)
	if err != nil {
		return err
	}
	var count transfer.Stats // what an audit reads is not the predictor's
	work, err := l.m.Coordinator.Fetch(transfer.Step{Exact: true, Count: &count}, l.index, x)
	if err != nil {
		return err
	}
	exact := ec.ahead // no forecast is made in an audit
	for t := range y.Rows {
		copy(exact.Row(t), y.Row(t))
	}
	a := &ec.Audit.Layers[l.index]
	err = l.segments(ec, work, x, func(seg device.Work, h []float32) {
		l.m.Backend.Down(exact, h, work.Memory, seg)
		before := *a
		a.leaveOut(seg, h, asked, x.Rows)
		ec.Stats.Computed += a.Computed - before.Computed
		ec.Stats.Active += a.Found - before.Found
		seg.SkipZero = true
		l.m.Backend.Down(y, h, work.Memory, seg)
	})
	ec.Stats.Transfer.Stall += count.Stall
	if err != nil {
		return err
	}
	a.Tokens += int64(x.Rows)
	a.Neurons += int64(x.Rows) * int64(l.m.Profile.FFN)
	for t := range y.Rows {
		for j, v := range exact.Row(t) {
			d := float64(y.Row(t)[j]) - float64(v)
			a.Error += d * d
			a.Output += float64(v) * float64(v)
		}
	}
	return nil
}

// leaveOut counts a segment and zeroes the activations [neurons, tokens] that
// are not asked for.
func (a *LayerAudit) leaveOut(w device.Work, h []float32, asked []uint64, tokens int) {
	words := (tokens + 63) / 64
	for i, id := range w.IDs {
		for t := range tokens {
			v := &h[i*tokens+t]
			kept := asked == nil || asked[int(id)*words+t>>6]>>(t&63)&1 != 0
			if kept {
				a.Computed++
			}
			if *v != 0 {
				a.Active++
				a.ActiveWeight += math.Abs(float64(*v))
				if kept {
					a.Found++
					a.FoundWeight += math.Abs(float64(*v))
				}
			}
			if !kept {
				*v = 0
			}
		}
	}
}
