package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// Engine is a loaded model that takes requests.
type Engine struct {
	pack        *pack.Pack
	profile     config.ModelProfile
	place       *placement.Placement
	point       *predict.Point // of the calibration, nil without one
	store       *disk.DiskWeightStore
	memory      *memory.Memory
	transfer    *disk.AsyncWeightTransfer
	backend     *meter
	kv          *kv.Cache
	coordinator *transfer.TransferCoordinator
	cache       *cache.WeightCache
	model       *model.Model
	ec          *model.ExecutionContext
	loading     *loading
	fill        *filler                      // nil where nothing is filled
	wanted      func(layer int, ids []int32) // Options.Wanted

	submit  chan *sequence
	stop    context.CancelFunc // ends the loop
	stopped context.Context    // done when the loop is told to end
	loop    sync.WaitGroup
	closing sync.Once
	closed  error // of Close

	// What the loop alone uses.
	waiting, running []*sequence
	pages            int // of the KV cache that no running sequence reserved
	batch            []*sequence
	drift            drift
	notify           func(string)
	ids              []int32
}

// ErrClosed is the error of requests to an engine that was closed.
var ErrClosed = errors.New("engine: closed")

// Placement is what lives where. It is not to be changed.
func (e *Engine) Placement() *placement.Placement { return e.place }

// Point is the calibration's point that predicted mode runs at, nil if it is
// not calibrated.
func (e *Engine) Point() *predict.Point { return e.point }

// Choice is what auto stands for, nil in the other modes.
func (e *Engine) Choice() *Choice {
	if !e.place.Auto {
		return nil
	}
	c := choiceOf(e.place)
	return &c
}

// Profile is the model.
func (e *Engine) Profile() config.ModelProfile { return e.profile }

// Backend is the name of what computes.
func (e *Engine) Backend() string { return e.backend.Name() }

// Pack is the model's file.
func (e *Engine) Pack() *pack.Pack { return e.pack }

// Request is a text to continue or to score.
type Request struct {
	IDs       []int32 // the prompt, at least one token
	MaxTokens int     // most tokens to generate; the context may end sooner
	Sampling  sample.Params
	IgnoreEOS bool // go on after an end-of-text token
	// Logits, if not nil, gets the logits after each prompt token: position
	// of the token and [vocab] values, valid during the call, which must not
	// block.
	Logits func(position int, logits []float32)
	// Final, if not nil, gets the final state after each prompt token, [d],
	// from which its logits follow; otherwise as Logits.
	Final func(position int, x []float32)
	// Other, if not nil, gives for each position a final state of another
	// request, [d], and Compare gets the logits of both, otherwise as Logits.
	Other   func(position int) []float32
	Compare func(position int, logits, other []float32)
	// Force, if not nil, is the tokens to generate, whatever is likely.
	Force []int32
	// Exact computes every neuron whatever the mode, and Audit, if not nil,
	// adds up what the predictor misses. Only for prompts: MaxTokens is 0.
	Exact bool
	Audit *model.Audit
	// Token, if not nil, gets each generated token and may end the text by
	// returning false. It runs on the goroutine of Run.
	Token func(id int32) bool
}

// FinishReason says why a text ended.
type FinishReason string

// The reasons.
const (
	FinishStop   FinishReason = "stop"   // an end-of-text token, or Token said so
	FinishLength FinishReason = "length" // MaxTokens, or the end of the context
)

// Result is what became of a request.
type Result struct {
	IDs    []int32 // generated, without an end-of-text token
	Finish FinishReason
	Stats  Stats
}

// Stats is what a request took, without waiting for a model that was opened early
// (Counters.Loading). Counters cover the steps that the request was
// part of, other requests of these steps included.
type Stats struct {
	Mode         config.Mode // Dense, Gate or, where any layer is, Predicted
	PromptTokens int
	Tokens       int // generated
	Prefill      time.Duration
	Decode       time.Duration
	Counters              // of the whole request
	Decoding     Counters // of the part after the prompt
}

// TokensPerSecond is the speed of decoding. The first token comes out of the
// prompt's computation and does not count.
func (s Stats) TokensPerSecond() float64 {
	if s.Tokens < 2 || s.Decode <= 0 {
		return 0
	}
	return float64(s.Tokens-1) / s.Decode.Seconds()
}

// Counters add up over steps.
type Counters struct {
	FastBytes int64         // of weights multiplied, predictors included
	SlowBytes int64         // read from the pack
	Reads     int64         // that brought them
	Wanted    int64         // neurons of layer passes
	Misses    int64         // of these, not in fast memory when the pass began
	Filled    int64         // slots that were empty and no longer are
	Early     int64         // neurons read early, by a forecast
	Wasted    int64         // of these, not wanted after all
	Computed  int64         // neurons x tokens computed
	Active    int64         // of these, with an activation that is not zero
	Passes    int64         // neurons x tokens there were
	Sampled   int64         // active neurons of the layers that were sampled
	Found     int64         // of these, computed
	Stall     time.Duration // waiting for reads
	Predict   time.Duration // asking the predictor
	Loading   time.Duration // waiting for a model that was opened early
	// SampledOutput is the sum of squares of the sampled layers' exact outputs,
	// SampledError that of what leaving neurons out changed in them, and
	// ExpectedError what it would have been as calibrated, 0 without that.
	SampledOutput, SampledError, ExpectedError float64
	// Deprecated: what is sampled changes nothing. Lowered and Exact are 0.
	Lowered, Exact int64
}

// HitRate is the share of wanted neurons that were in fast memory.
func (c Counters) HitRate() float64 {
	if c.Wanted == 0 {
		return 0
	}
	return 1 - float64(c.Misses)/float64(c.Wanted)
}

// ComputedShare is the share of all neurons that were computed.
func (c Counters) ComputedShare() float64 {
	if c.Passes == 0 {
		return 0
	}
	return float64(c.Computed) / float64(c.Passes)
}

// Recall is the share of active neurons that were computed, as far as it was
// sampled; false if it was not.
func (c Counters) Recall() (float64, bool) {
	if c.Sampled == 0 {
		return 0, false
	}
	return float64(c.Found) / float64(c.Sampled), true
}

// OutputError is how far leaving neurons out moved the outputs of the layers
// that were sampled, relative to their size; false if none was.
func (c Counters) OutputError() (float64, bool) { return rootShare(c.SampledError, c.SampledOutput) }

// CalibratedError is what OutputError would be on the calibration's text; false
// without a calibration or samples.
func (c Counters) CalibratedError() (float64, bool) {
	v, ok := rootShare(c.ExpectedError, c.SampledOutput)
	return v, ok && v > 0
}

func (c Counters) minus(d Counters) Counters {
	c.FastBytes -= d.FastBytes
	c.SlowBytes -= d.SlowBytes
	c.Reads -= d.Reads
	c.Wanted -= d.Wanted
	c.Misses -= d.Misses
	c.Filled -= d.Filled
	c.Early -= d.Early
	c.Wasted -= d.Wasted
	c.Computed -= d.Computed
	c.Active -= d.Active
	c.Passes -= d.Passes
	c.Sampled -= d.Sampled
	c.Found -= d.Found
	c.Stall -= d.Stall
	c.Predict -= d.Predict
	c.Loading -= d.Loading
	c.SampledOutput -= d.SampledOutput
	c.SampledError -= d.SampledError
	c.ExpectedError -= d.ExpectedError
	return c
}

// counters is the state of all counters now.
func (e *Engine) counters() Counters {
	s, t := e.ec.Stats.Transfer, e.ec.Stats
	var a model.LayerAudit
	for _, l := range e.drift.sampled.Layers {
		a.Add(l)
	}
	return Counters{
		Sampled:       a.Active,
		Found:         a.Found,
		SampledOutput: a.Output,
		SampledError:  a.Error,
		ExpectedError: e.drift.expected(),

		FastBytes: e.backend.bytes,
		SlowBytes: e.store.BytesRead() + e.transfer.BytesRead(),
		Reads:     e.store.Reads() + e.transfer.Reads(),
		Wanted:    s.Wanted,
		Misses:    s.Misses,
		Filled:    e.cache.Filled(),
		Early:     s.Early,
		Wasted:    s.Wasted,
		Computed:  t.Computed,
		Active:    t.Active,
		Passes:    t.Tokens * e.profile.Neurons(),
		Stall:     s.Stall,
		Predict:   s.Predict,
		Loading:   t.Loading,
	}
}

// Run carries out a request. It returns early when ctx ends.
func (e *Engine) Run(ctx context.Context, r Request) (*Result, error) {
	s, err := e.newSequence(ctx, r)
	if err != nil {
		return nil, err
	}
	defer s.cancel()
	select {
	case e.submit <- s:
	case <-e.stopped.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	delivered := 0
	for id := range s.tokens {
		delivered++
		if r.Token != nil && !r.Token(id) {
			s.quit.Store(true)
			s.cancel()
			break
		}
	}
	// The loop ends the sequence at its next step; only then is it done with
	// what the request handed it.
	<-s.done
	if s.err != nil && !s.quit.Load() {
		return nil, s.err
	}
	res := s.result(delivered)
	res.Stats.Mode = e.place.Mode
	return res, nil
}

func (e *Engine) newSequence(ctx context.Context, r Request) (*sequence, error) {
	switch {
	case len(r.IDs) == 0:
		return nil, fmt.Errorf("engine: prompt: got no tokens, want at least 1")
	case len(r.IDs) > e.place.Context:
		return nil, fmt.Errorf("engine: prompt: got %d tokens, want at most %d, the context (--ctx)", len(r.IDs), e.place.Context)
	case (r.Exact || r.Audit != nil) && r.MaxTokens > 0:
		return nil, fmt.Errorf("engine: max-tokens: got %d, want 0 for an exact or audited prompt", r.MaxTokens)
	case r.Force != nil && r.MaxTokens > len(r.Force):
		return nil, fmt.Errorf("engine: max-tokens: got %d, want at most the %d tokens to force", r.MaxTokens, len(r.Force))
	case r.MaxTokens < 0:
		return nil, fmt.Errorf("engine: max-tokens: got %d, want 0 or more", r.MaxTokens)
	}
	for i, id := range append(slices.Clone(r.IDs), r.Force...) {
		if id < 0 || int(id) >= e.profile.VocabSize {
			return nil, fmt.Errorf("engine: prompt: got token id %d at position %d, want 0 to %d", id, i, e.profile.VocabSize-1)
		}
	}
	sampler, err := sample.New(r.Sampling)
	if err != nil {
		return nil, err
	}
	most := min(len(r.IDs)+r.MaxTokens, e.place.Context)
	s := &sequence{
		req:     r,
		sampler: sampler,
		ids:     append(make([]int32, 0, most), r.IDs...),
		prompt:  len(r.IDs),
		most:    most,
		tokens:  make(chan int32, most-len(r.IDs)),
		done:    make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// Close ends running requests with ErrClosed and gives all memory back. It may
// be called again.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.stop()
		e.loop.Wait()
		e.closed = e.free()
	})
	return e.closed
}

// free releases whatever there is of the engine.
func (e *Engine) free() error {
	var errs []error
	if e.loading != nil {
		e.loading.close()
	}
	e.fill.close()
	if e.coordinator != nil {
		e.coordinator.Close()
	}
	if e.transfer != nil {
		e.transfer.Close()
	}
	if e.backend != nil {
		e.backend.Close()
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	if e.memory != nil {
		errs = append(errs, e.memory.Close())
	}
	errs = append(errs, e.pack.Close())
	return errors.Join(errs...)
}
