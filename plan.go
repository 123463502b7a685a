package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Placement is what lives where for a budget, and what a token is expected to
// move.
type Placement = placement.Placement

// Plan places a model as Open would, from headers alone: it neither loads nor
// converts anything. Where the budget is too small, the placement comes
// together with a *BudgetError.
func Plan(model string, opts ...Option) (*Placement, error) {
	o := makeOptions(opts)
	src, err := hub.FindIn(model, o.cacheDir)
	if err != nil {
		return nil, err
	}
	l, err := convert.Layout(src)
	if err != nil {
		return nil, err
	}
	known, err := o.finder().Known(src)
	if err != nil {
		return nil, err
	}
	known.Use(&o.engine)
	place, err := engine.Plan(l, o.engine)
	return o.planned(place), err
}

// PlanConfig places a model of which there is a config alone, as if its weights
// were of the given element type: whether it would run, before any download.
func PlanConfig(c SparseFlowConfig, weights DType, opts ...Option) (*Placement, error) {
	o := makeOptions(append(opts, WithStrategy(c.Strategy)))
	if err := c.Profile.Validate(); err != nil {
		return nil, err
	}
	spec := pack.Spec{Profile: c.Profile, Name: c.Profile.Family, Attn: weights, MLP: weights.OfRow(c.Profile.HiddenSize),
		Tokenizer: map[string][]byte{"vocab.json": make([]byte, min(tokenBytes*c.Profile.VocabSize, mostVocab))}}
	l, err := spec.Layout()
	if err != nil {
		return nil, err
	}
	place, err := engine.Plan(l, o.engine)
	return o.planned(place), err
}

// The files of a tokenizer that has not been seen, for each token and in all.
const (
	tokenBytes = 27 // as OPT's vocab.json and merges.txt
	mostVocab  = 64 << 20
)

// planned is p, whose notices are told.
func (o *options) planned(p *Placement) *Placement {
	if p != nil && o.notify != nil {
		for _, n := range p.Notices {
			o.notify(n)
		}
	}
	return p
}
