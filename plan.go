package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
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
	if place != nil && o.notify != nil {
		for _, n := range place.Notices {
			o.notify(n)
		}
	}
	return place, err
}
