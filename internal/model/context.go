package model

import (
	"context"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// ExecutionContext is the state of one step: which tokens are computed, their
// activations, and counters. It is made once and used for step after step by
// one goroutine.
type ExecutionContext struct {
	// Ctx ends the step early.
	Ctx context.Context
	// Spans are the sequences of the step, whose tokens follow one another in
	// the rows of every activation.
	Spans []device.Span
	// Step is what they are computed for; Stats.Transfer counts it.
	transfer.Step
	Stats Stats
	// Observe, if not nil, is called for every segment of a layer's MLP with
	// its neurons and their activations h [neurons, tokens], which are valid
	// during the call.
	Observe func(layer, tokens int, w device.Work, h []float32)
	// ObserveInput, if not nil, is called before the neurons of a layer are
	// computed with the input of its MLP and the forecast of that which was
	// made before attention, both [tokens, d] and valid during the call. An
	// audited step has no forecast and does not call it.
	ObserveInput func(layer int, ahead, exact device.Act)

	// Audit, if not nil, adds up what the predictor misses. Every neuron is
	// then computed; what is not asked for is left out of the result, which is
	// therefore that of a run without an audit. With AuditLayer 0 or more only
	// that layer is audited.
	Audit      *Audit
	AuditLayer int

	tokens int
	chunk  int
	// Activations, [chunk, ...], of which the first tokens rows are in use.
	x      device.Act // [chunk, d] the residual stream
	norm   device.Act // [chunk, d] normalised input of attention or MLP
	ahead  device.Act // [chunk, d] forecast of the MLP's input
	q      device.Act // [chunk, d]
	k, v   device.Act // [chunk, kv dim]
	attn   device.Act // [chunk, d] attention before its output projection
	out    device.Act // [chunk, d] what attention or MLP adds to x
	embed  device.Act // [chunk, embed dim]
	logits device.Act // [LogitRows, vocab]
	hidden []float32  // [neurons of a segment, tokens]
	scores []float32  // [chunk, ffn]
}

// Stats counts what the steps did.
type Stats struct {
	Transfer transfer.Stats
	Tokens   int64
	Computed int64 // neurons computed, counted for each token that wanted one
	Active   int64 // of these, activations that were not zero
	Attend   time.Duration
	MLP      time.Duration
	Loading  time.Duration // spent waiting for layers to be loaded
}

// LogitRows is how many tokens' logits are computed at a time.
const LogitRows = 8

// HiddenSize is the most activations, neurons x tokens, of one MLP segment of a
// step of chunk tokens. With fewer neurons to a segment a large chunk's input
// and output would go to and from memory for little work.
func HiddenSize(p config.ModelProfile, chunk int) int { return max(p.FFN, 512*chunk) }

// buffers is the columns of each [chunk, columns] activation, in the order in
// which NewExecutionContext takes them.
func buffers(p config.ModelProfile) []int {
	d := p.HiddenSize
	return []int{d, d, d, d, p.KVDim(), p.KVDim(), d, d, p.EmbedDim, p.FFN}
}

// ScratchBytes is the memory of an ExecutionContext for chunk tokens.
func ScratchBytes(p config.ModelProfile, chunk int) int64 {
	n := memory.PieceBytes(4*int64(min(chunk, LogitRows))*int64(p.VocabSize)) + memory.PieceBytes(4*int64(HiddenSize(p, chunk)))
	for _, cols := range buffers(p) {
		n += memory.PieceBytes(4 * int64(chunk) * int64(cols))
	}
	return n
}

// NewExecutionContext makes a context for chunk tokens a step out of
// ScratchBytes of mem.
func NewExecutionContext(p config.ModelProfile, chunk int, mem *memory.Memory) *ExecutionContext {
	act := func(rows, cols int) device.Act {
		return device.Act{Data: mem.Floats(rows * cols), Rows: rows, Cols: cols, Stride: cols}
	}
	b := make([]device.Act, 0, len(buffers(p)))
	for _, cols := range buffers(p) {
		b = append(b, act(chunk, cols))
	}
	ec := &ExecutionContext{
		Ctx:   context.Background(),
		chunk: chunk,
		x:     b[0], norm: b[1], ahead: b[2], q: b[3], k: b[4], v: b[5], attn: b[6], out: b[7], embed: b[8],
		scores: b[9].Data,
		logits: act(min(chunk, LogitRows), p.VocabSize),
		hidden: mem.Floats(HiddenSize(p, chunk)),
	}
	ec.Count = &ec.Stats.Transfer
	return ec
}

// Hidden is the most activations of one MLP segment: neurons x tokens.
func (ec *ExecutionContext) Hidden() int { return len(ec.hidden) }

// Scores is the memory for a predictor's scores, [chunk, ffn].
func (ec *ExecutionContext) Scores() []float32 { return ec.scores }

// Chunk is the most tokens of a step.
func (ec *ExecutionContext) Chunk() int { return ec.chunk }

// begin sets the number of rows in use.
func (ec *ExecutionContext) begin(tokens int) {
	ec.tokens = tokens
	for _, a := range []*device.Act{&ec.x, &ec.norm, &ec.ahead, &ec.q, &ec.k, &ec.v, &ec.attn, &ec.out, &ec.embed} {
		a.Rows = tokens
	}
}
