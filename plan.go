package sparseflow

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Placement is what lives where for a budget, and what a token is expected to
// move.
type Placement = placement.Placement

// Plan places a model as Open would, without loading it. A checkpoint is
// converted first if it has not been. Where the budget is too small, the
// placement comes together with a *BudgetError.
func Plan(ctx context.Context, model string, opts ...Option) (*Placement, error) {
	o := makeOptions(opts)
	p, err := openPack(ctx, model, o)
	if err != nil {
		return nil, err
	}
	place, err := engine.Plan(p, o.engine)
	if place != nil && o.notify != nil {
		for _, n := range place.Notices {
			o.notify(n)
		}
	}
	return place, errors.Join(err, p.Close())
}
