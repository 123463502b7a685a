package sparseflow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// Sampling says how tokens are chosen. The zero value takes the likeliest
// token each time.
type Sampling struct {
	// Temperature divides the logits; 0 is greedy: the likeliest token after the
	// repetition penalty, with TopK, TopP, MinP and Seed of no effect.
	Temperature float32
	// TopK keeps the k largest logits and those equal to the k-th; 0, or the
	// vocabulary's size and more, is off.
	TopK int
	// TopP keeps the likeliest tokens that together hold this mass; 0 and 1 are
	// off.
	TopP float32
	// MinP removes tokens less likely than this share of the likeliest; 0 is off,
	// 1 leaves the likeliest and its equals.
	MinP float32
	// RepetitionPenalty above 1 makes ids of the context less likely, below 1
	// more likely; 0 and 1 are off.
	RepetitionPenalty float32
	// Seed starts the generator; every value, 0 included, is a seed of its own.
	Seed uint64
}

// Greedy reports whether the likeliest token is taken without a draw.
func (s Sampling) Greedy() bool { return sample.Params(s).Greedy() }

// Validate reports the first field that lies outside its range.
func (s Sampling) Validate() error { return sample.Params(s).Validate() }

// FinishReason says why a text ended.
type FinishReason string

// The reasons.
const (
	FinishStop   FinishReason = "stop"   // an end-of-text token or a stop string
	FinishLength FinishReason = "length" // MaxTokens, or the end of the context
)

// Request is a text to continue.
type Request struct {
	// Prompt is the text. The model's begin-of-text token is put before it.
	Prompt string
	// IDs, if not nil, is the prompt as token ids, taken as they are; Prompt
	// is not looked at.
	IDs       []int32
	MaxTokens int      // most tokens to generate; the end of the context comes first
	Sampling  Sampling // how they are chosen
	// Stop ends the text where one of these strings would begin.
	Stop []string
	// IgnoreEOS goes on after an end-of-text token.
	IgnoreEOS bool
	// OnText, if not nil, gets the text as it comes.
	OnText func(string)
	// OnToken, if not nil, gets each token as it comes, before the text that
	// is complete with it.
	OnToken func(id int32)
}

// Defaults is a request, but for its prompt, as the makers of the checkpoint
// would have it by generation_config.json: the zero Request where there is none.
func (e *Engine) Defaults() Request {
	g := e.e.Profile().Generation
	r := Request{MaxTokens: g.MaxTokens, Sampling: Sampling{Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, RepetitionPenalty: g.RepetitionPenalty}}
	if e.tok != nil {
		r.Stop = slices.Clone(g.Stop)
	}
	return r
}

// Result is a generated text.
type Result struct {
	PromptIDs []int32      // of the prompt, a begin-of-text token included
	IDs       []int32      // generated, without an end-of-text token
	Text      string       // "" where the model has no tokenizer files
	Finish    FinishReason // why it ended
	Stats     Stats        // what it took
}

// ErrNoTokenizer is the error of text for a model without tokenizer files,
// which takes token ids only.
var ErrNoTokenizer = errors.New("sparseflow: got text for a model without tokenizer files (vocab.json and merges.txt, or tokenizer.json), want token ids")

// Tokenize turns text into token ids, with the model's begin-of-text token
// before them if it uses one.
func (e *Engine) Tokenize(text string) ([]int32, error) {
	if e.tok == nil {
		return nil, e.noTok
	}
	return e.tok.Encode(text, e.tok.AddsBOS()), nil
}

// TokenizePlain is Tokenize without a begin-of-text token.
func (e *Engine) TokenizePlain(text string) ([]int32, error) {
	if e.tok == nil {
		return nil, e.noTok
	}
	return e.tok.Encode(text, false), nil
}

// Generate continues a text.
func (e *Engine) Generate(ctx context.Context, r Request) (*Result, error) {
	if r.IDs == nil {
		var err error
		if r.IDs, err = e.Tokenize(r.Prompt); err != nil {
			return nil, err
		}
		if len(r.IDs) == 0 {
			return nil, errors.New("sparseflow: generate: got an empty prompt, want text or token ids")
		}
	}
	return e.generate(ctx, r, nil, nil)
}

// generate continues ids. Tokens of ends end the text too, and special ones that
// shown reports are in it.
func (e *Engine) generate(ctx context.Context, r Request, ends []int32, shown func(special string) bool) (*Result, error) {
	ids := r.IDs
	out := newTextOut(e.tok, r.Stop, r.OnText)
	out.shown = shown
	push := out.push
	if r.OnToken != nil {
		push = func(id int32) bool {
			r.OnToken(id)
			return out.push(id)
		}
	}
	if e.tok == nil && len(r.Stop) > 0 {
		return nil, fmt.Errorf("stop strings need text: %w", e.noTok)
	}
	res, err := e.e.Run(ctx, engine.Request{
		IDs:       ids,
		MaxTokens: r.MaxTokens,
		Sampling:  sample.Params(r.Sampling),
		IgnoreEOS: r.IgnoreEOS,
		EOS:       slices.Concat(e.ends, ends),
		Token:     push,
	})
	if err != nil {
		return nil, err
	}
	out.flush()
	return &Result{PromptIDs: ids, IDs: res.IDs, Text: out.text(), Finish: FinishReason(res.Finish), Stats: mirror.To[Stats](res.Stats)}, nil
}

// Score is how likely a model finds each token of a text.
type Score struct {
	IDs []int32 // of the text
	// Logprobs[i] is the natural logarithm of the probability of IDs[i] given
	// the tokens before it; the first is meaningless.
	Logprobs []float64
	// Logits is [vocab], after the last token.
	Logits []float32
	Stats  Stats // what it took
}

// Score computes the log-probability of every token of ids but the first.
func (e *Engine) Score(ctx context.Context, ids []int32) (*Score, error) {
	s := &Score{IDs: ids, Logprobs: make([]float64, len(ids))}
	res, err := e.e.Run(ctx, engine.Request{IDs: ids, Logits: func(at int, logits []float32) {
		if at+1 < len(ids) {
			s.Logprobs[at+1] = sample.Logprob(logits, ids[at+1])
		} else {
			s.Logits = append(s.Logits, logits...)
		}
	}})
	if err != nil {
		return nil, err
	}
	s.Stats = mirror.To[Stats](res.Stats)
	return s, nil
}
