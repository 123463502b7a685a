// Package quality measures what leaving neurons out costs.
//
// Compare runs a text through the model twice: exactly, and as the mode says
// with an audit (model.Audit), which computes every neuron but leaves out of
// the result what the predictor does not ask for. So one pass gives, on the
// same tokens, perplexity and the divergence of the two distributions, and for
// every layer which active neurons were missed and how far the MLP's output
// moved.
//
// The text is cut into consecutive windows, each preceded by the
// begin-of-text token, and every token of a window is scored; that is how the
// reference figures of the embedded model were made. Of a model without such a
// token a window's first is not scored. Perplexity is exp of the
// mean negative log-likelihood. KL is the mean over scored tokens of
// sum p log(p/q), p being the exact distribution, in nats.
package quality

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// Options is how a text is evaluated. The zero value is as the package says.
type Options struct {
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

// ExactPass is the final states of a text's windows, 4 d bytes a token. The
// zero ExactPass is empty.
type ExactPass struct {
	windows map[int][]float32 // by the windows' ends
}

// Report is what an evaluation found.
type Report struct {
	Tokens   int     // scored
	PPLDense float64 // of the exact model
	PPL      float64 // of the mode
	KL       float64 // mean divergence from the exact model, nats
	Layers   []model.LayerAudit
	All      model.LayerAudit // the sum of all layers
	// Decoding is the traffic of a token while decoding the text's beginning,
	// word by word as it stands, in DecodedTokens steps.
	Decoding      engine.Counters
	DecodedTokens int
}

// Change is the relative change of perplexity.
func (r *Report) Change() float64 { return r.PPL/r.PPLDense - 1 }

// decodeTokens is how many tokens are decoded to see what decoding moves, and
// decodePrompt how many of the text come before them.
const (
	decodeTokens = 128
	decodePrompt = 32
)

// Evaluate is Compare, and sees what decoding moves.
func Evaluate(ctx context.Context, e *engine.Engine, ids []int32, o Options) (*Report, error) {
	r, err := Compare(ctx, e, ids, o)
	if err == nil {
		err = r.decode(ctx, e, ids)
	}
	return r, err
}

// Compare evaluates ids, a text's tokens without any special ones, and leaves
// the report's Decoding out.
func Compare(ctx context.Context, e *engine.Engine, ids []int32, o Options) (*Report, error) {
	longest := e.Placement().Context - 1
	if o.Window == 0 {
		o.Window = longest
	}
	if o.Stride == 0 {
		o.Stride = o.Window
	}
	switch {
	case o.Window < 1 || o.Window > longest:
		return nil, fmt.Errorf("quality: window: got %d tokens, want 1 to %d, one less than the context", o.Window, longest)
	case o.Stride < 1 || o.Stride > o.Window:
		return nil, fmt.Errorf("quality: stride: got %d tokens, want 1 to the window's %d", o.Stride, o.Window)
	case len(ids)+len(start(e)) < 2:
		return nil, errors.New("quality: text: got no token to score, want one with another before it")
	case o.Window+len(start(e)) < 2:
		return nil, errors.New("quality: window: got 1 token, want 2 of a model without a begin-of-text token")
	}
	r := &run{e: e, o: o, ids: ids, audit: model.NewAudit(e.Profile().Layers)}
	for end := min(o.Window, len(ids)); ; end = min(end+o.Stride, len(ids)) {
		if err := r.window(ctx, end); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(int64(end), int64(len(ids)))
		}
		if end == len(ids) {
			break
		}
	}
	return r.report(), nil
}

// run is an evaluation under way.
type run struct {
	e     *engine.Engine
	o     Options
	ids   []int32
	audit *model.Audit

	seen, scored   int // of ids
	dense, sparse  float64
	kl             float64
	logDense, logQ []float64 // [vocab]
}

// start is the begin-of-text token, of a model that has one.
func start(e *engine.Engine) []int32 {
	if bos := e.Profile().BOS; bos >= 0 {
		return []int32{bos}
	}
	return nil
}

// window evaluates the window that ends before token end, and scores what no
// window before it has.
func (r *run) window(ctx context.Context, end int) error {
	begin := max(0, end-r.o.Window)
	before := start(r.e)
	ids := append(before, r.ids[begin:end]...)
	d := r.e.Profile().HiddenSize
	final, err := r.exact(ctx, end, ids)
	if err != nil {
		return err
	}
	first := r.seen - begin + len(before) // position of the first to score
	_, err = r.e.Run(ctx, engine.Request{
		IDs:   ids,
		Audit: r.audit,
		Other: func(at int) []float32 { return final[at*d : (at+1)*d] },
		Compare: func(at int, sparse, dense []float32) {
			if at+1 >= first && at+1 < len(ids) {
				r.score(ids[at+1], sparse, dense)
			}
		},
	})
	r.seen = end
	return err
}

// exact is the final states [tokens, d] of the window that ends before token
// end, whose ids these are.
func (r *run) exact(ctx context.Context, end int, ids []int32) ([]float32, error) {
	kept := r.o.Exact
	if kept != nil && kept.windows[end] != nil {
		return kept.windows[end], nil
	}
	d := r.e.Profile().HiddenSize
	final := make([]float32, len(ids)*d)
	_, err := r.e.Run(ctx, engine.Request{IDs: ids, Exact: true, Final: func(at int, x []float32) {
		copy(final[at*d:], x)
	}})
	if err == nil && kept != nil {
		if kept.windows == nil {
			kept.windows = make(map[int][]float32)
		}
		kept.windows[end] = final
	}
	return final, err
}

// score adds the token id, whose logits both models gave.
func (r *run) score(id int32, sparse, dense []float32) {
	r.logDense = sample.LogSoftmax(r.logDense, dense)
	r.logQ = sample.LogSoftmax(r.logQ, sparse)
	r.scored++
	r.dense -= r.logDense[id]
	r.sparse -= r.logQ[id]
	for i, p := range r.logDense {
		r.kl += math.Exp(p) * (p - r.logQ[i])
	}
}

func (r *run) report() *Report {
	n := float64(r.scored)
	rep := &Report{
		Tokens:   r.scored,
		PPLDense: math.Exp(r.dense / n),
		PPL:      math.Exp(r.sparse / n),
		KL:       r.kl / n,
		Layers:   r.audit.Layers,
	}
	for _, l := range r.audit.Layers {
		rep.All.Add(l)
	}
	return rep
}

// decode sees what decoding moves.
func (r *Report) decode(ctx context.Context, e *engine.Engine, ids []int32) error {
	prompt := min(decodePrompt, len(ids)-1)
	n := min(decodeTokens, len(ids)-prompt, e.Placement().Context-1-prompt)
	if n < 2 || prompt+len(start(e)) == 0 {
		return nil
	}
	res, err := e.Run(ctx, engine.Request{
		IDs:       append(start(e), ids[:prompt]...),
		Force:     ids[prompt : prompt+n],
		MaxTokens: n,
		IgnoreEOS: true,
	})
	if err != nil {
		return err
	}
	r.Decoding, r.DecodedTokens = res.Stats.Decoding, n-1
	return nil
}
