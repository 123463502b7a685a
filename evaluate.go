package sparseflow

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/quality"
)

// EvaluateOptions is how a text is evaluated. The zero value evaluates windows
// of the context's length, one after the other.
type EvaluateOptions struct {
	// Window is the tokens of a window; 0: one less than the context.
	Window int
	// Stride is how far windows are apart; 0: Window. With less, a window's
	// last Stride tokens are scored and the others before them are context.
	Stride int
	// Exact, if not nil, keeps the exact pass: evaluations of the same text by
	// the same model that share it compute that pass once.
	Exact *ExactPass
	// Progress, if not nil, is told of tokens scored out of a total.
	Progress func(done, total int64)
}

// ExactPass is the exact half of an evaluation, for others of the same text to
// share. It takes four bytes for each token and element of the residual stream.
// The zero ExactPass is empty.
type ExactPass struct{ pass quality.ExactPass }

// Evaluate runs a text, token ids without any special ones, exactly and as the
// mode says, and compares.
func (e *Engine) Evaluate(ctx context.Context, ids []int32, o EvaluateOptions) (*Evaluation, error) {
	q := quality.Options{Window: o.Window, Stride: o.Stride, Progress: o.Progress}
	if o.Exact != nil {
		q.Exact = &o.Exact.pass
	}
	r, err := quality.Evaluate(ctx, e.e, ids, q)
	return mirror.To[*Evaluation](r), err
}

// Evaluation is what leaving neurons out costs on a text.
type Evaluation struct {
	Tokens   int          // scored
	PPLDense float64      // perplexity of the exact model
	PPL      float64      // perplexity of the mode
	KL       float64      // mean divergence from the exact model, nats
	Layers   []LayerAudit // [layers]
	All      LayerAudit   // the sum of all layers
	// Decoding is the traffic of decoding the text's beginning, word by word as
	// it stands, in DecodedTokens steps.
	Decoding      Counters
	DecodedTokens int // steps that Decoding is of
}

// Change is the relative change of perplexity.
func (r *Evaluation) Change() float64 { return r.PPL/r.PPLDense - 1 }

// LayerAudit is what the predictor got right and wrong in a layer, added up over
// tokens. A neuron is active if its activation is not zero, computed if the
// predictor asks for it.
type LayerAudit struct {
	Tokens, Neurons  int64   // Neurons: tokens x neurons of the layer
	Active, Computed int64   // neurons x tokens
	Found            int64   // active and computed
	ActiveWeight     float64 // sum of |activation| of the active
	FoundWeight      float64 // of these, the computed
	Error, Output    float64 // sums of squares: of the difference to the exact output, of that output
}

// Add adds b to a.
func (a *LayerAudit) Add(b LayerAudit) { (*model.LayerAudit)(a).Add(model.LayerAudit(b)) }

// Recall is the share of active neurons that are computed.
func (a LayerAudit) Recall() float64 { return model.LayerAudit(a).Recall() }

// RecallWeighted is Recall with each neuron weighted by its |activation|.
func (a LayerAudit) RecallWeighted() float64 { return model.LayerAudit(a).RecallWeighted() }

// Precision is the share of computed neurons that are active.
func (a LayerAudit) Precision() float64 { return model.LayerAudit(a).Precision() }

// ActiveShare is the share of all neurons that are active.
func (a LayerAudit) ActiveShare() float64 { return model.LayerAudit(a).ActiveShare() }

// ComputedShare is the share of all neurons that are computed.
func (a LayerAudit) ComputedShare() float64 { return model.LayerAudit(a).ComputedShare() }

// OutputError is the root mean square of the difference to the MLP's exact
// output, relative to that output's.
func (a LayerAudit) OutputError() float64 { return model.LayerAudit(a).OutputError() }
