package sparseflow

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/quality"
)

// Evaluation is what leaving neurons out costs on a text.
type Evaluation = quality.Report

// LayerAudit is what the predictor got right and wrong in a layer.
type LayerAudit = model.LayerAudit

// EvaluateOptions is how a text is evaluated. The zero value evaluates windows
// of the context's length, one after the other.
type EvaluateOptions = quality.Options

// ExactPass is the exact half of an evaluation, for others of the same text to
// share.
type ExactPass = quality.ExactPass

// Evaluate runs a text, token ids without any special ones, exactly and as the
// mode says, and compares.
func (e *Engine) Evaluate(ctx context.Context, ids []int32, o EvaluateOptions) (*Evaluation, error) {
	return quality.Evaluate(ctx, e.e, ids, o)
}
