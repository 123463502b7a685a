package engine

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/sched"
)

// Request is a text to continue or to score.
type Request struct {
	IDs       []int32 // the prompt, at least one token
	MaxTokens int     // most tokens to generate; the context may end sooner
	Sampling  sample.Params
	IgnoreEOS bool    // go on after an end-of-text token
	EOS       []int32 // ends of text besides the model's own
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

// sequence is a request and its state.
type sequence struct {
	req     Request
	ctx     context.Context
	cancel  context.CancelFunc
	sampler *sample.Sampler
	ids     []int32 // prompt and generated tokens
	prompt  int     // length of the prompt
	most    int     // length at which the text ends
	seq     kv.Seq  // the tokens computed so far, and in a step those of the step

	computed int // tokens whose keys and values are there
	reused   int // of these, tokens of the prompt that were there before

	alone   context.Context // ends when ctx does or the engine is closed; see stepContext
	release func()          // of alone

	tokens chan int32    // generated, closed at the end; never full
	done   chan struct{} // closed when the loop has let go of the sequence
	quit   atomic.Bool   // Token ended the text
	err    error         // valid once done
	finish FinishReason

	before          Counters // when the sequence began
	prompted        Counters // spent on the prompt
	counts          Counters // spent in all
	prefill, decode time.Duration
}

// result is the outcome of a sequence of which the caller got delivered
// tokens: when it ends a text itself, the loop may be a token ahead.
func (s *sequence) result(delivered int) *Result {
	ids := s.ids[s.prompt:][:delivered]
	if s.quit.Load() {
		s.finish = FinishStop
	}
	return &Result{IDs: ids, Finish: s.finish, Stats: Stats{
		PromptTokens: s.prompt,
		Reused:       s.reused,
		Tokens:       len(ids),
		Prefill:      s.prefill,
		Decode:       s.decode,
		Counters:     s.counts,
		Decoding:     s.counts.minus(s.prompted),
	}}
}

// state is what scheduling knows of s, but for its pages.
func (s *sequence) state() sched.Sequence {
	return sched.Sequence{Prompt: s.prompt, Computed: s.seq.Len()}
}

// newSequence is what becomes of a request to a model with a context of longest
// tokens.
func newSequence(ctx context.Context, r Request, p config.ModelProfile, longest int) (*sequence, error) {
	switch {
	case len(r.IDs) == 0:
		return nil, fmt.Errorf("engine: prompt: got no tokens, want at least 1")
	case len(r.IDs) > longest:
		return nil, fmt.Errorf("engine: prompt: got %d tokens, want at most %d, the context (--ctx)", len(r.IDs), longest)
	case (r.Exact || r.Audit != nil) && r.MaxTokens > 0:
		return nil, fmt.Errorf("engine: max-tokens: got %d, want 0 for an exact or audited prompt", r.MaxTokens)
	case r.Force != nil && r.MaxTokens > len(r.Force):
		return nil, fmt.Errorf("engine: max-tokens: got %d, want at most the %d tokens to force", r.MaxTokens, len(r.Force))
	case r.MaxTokens < 0:
		return nil, fmt.Errorf("engine: max-tokens: got %d, want 0 or more", r.MaxTokens)
	}
	for i, id := range append(slices.Clone(r.IDs), r.Force...) {
		if id < 0 || int(id) >= p.VocabSize {
			return nil, fmt.Errorf("engine: prompt: got token id %d at position %d, want 0 to %d", id, i, p.VocabSize-1)
		}
	}
	sampler, err := sample.New(r.Sampling)
	if err != nil {
		return nil, err
	}
	most := min(len(r.IDs)+r.MaxTokens, longest)
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
