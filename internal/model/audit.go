package model

import (
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
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

// leaveOut counts a segment and zeroes the activations [neurons, tokens] that
// are not asked for.
func (a *LayerAudit) leaveOut(w device.Work, h []float32, asked device.Work, tokens int) {
	for i, id := range w.IDs {
		at, any := slices.BinarySearch(asked.IDs, id)
		for t := range tokens {
			v := &h[i*tokens+t]
			kept := any && asked.Wanted(at, t)
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
