package model

import (
	"context"

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

	chunk int
	// Activations by token, [chunk, ...], of which a step uses the first rows.
	x      device.Act // [chunk, d] the residual stream
	norm   device.Act // [chunk, d] normalised input of attention or MLP
	ahead  device.Act // [chunk, d] forecast of the MLP's input
	q      device.Act // [chunk, d]
	k, v   device.Act // [chunk, kv dim]
	attn   device.Act // [chunk, d] attention before its output projection
	out    device.Act // [chunk, d] what attention or MLP adds to x
	embed  device.Act // [chunk, embed dim]
	scores device.Act // [chunk, ffn] of the predictor
	gate   device.Act // [chunk, ffn] of an MLP that is computed densely
	up     device.Act // [chunk, ffn] of such an MLP
	logits device.Act // [LogitRows, vocab]
	hidden []float32  // [neurons of a segment, tokens]
	// Of mixtures of experts.
	logitsE     device.Act // [chunk, experts] of a router
	logitsAhead device.Act // [1, experts] of the next layer's
	sharedGate  device.Act // [chunk, 1]
	pairs       device.Act // [chunk x k, d] outputs of experts
	routing     routing
	failed      []error // [chunk] of rows of a step of several sequences
	// angles is [kinds][chunk, pairs cosines and pairs sines] of RoPE.
	angles []device.Act
}

// audits reports whether the step audits a layer.
func (ec *ExecutionContext) audits(layer int) bool {
	return ec.Audit != nil && (ec.AuditLayer < 0 || ec.AuditLayer == layer)
}

// Stats counts what the steps did.
type Stats struct {
	Transfer transfer.Stats
	Tokens   int64
	Computed int64 // neurons computed, counted for each token that wanted one
	Active   int64 // of these, activations that were not zero
}

// LogitRows is how many tokens' logits are computed at a time.
const LogitRows = 8

// HiddenSize is the most activations, neurons x tokens, of one MLP segment of a
// step of chunk tokens. With fewer neurons to a segment a large chunk's input
// and output would go to and from memory for little work.
//
// An MLP that is computed densely has none.
func HiddenSize(p config.ModelProfile, chunk int) int {
	if !p.Sparse() {
		return 0
	}
	return max(p.FFN, 512*chunk)
}

// activation is an activation by token and how many columns it has.
type activation struct {
	*device.Act
	cols int
}

// byToken is the activations by token.
func (ec *ExecutionContext) byToken(p config.ModelProfile) [14]activation {
	d, kv := p.HiddenSize, p.KVDim()
	gate, up := 0, denseWidth(p)
	if p.NeuronParts == 3 {
		gate = up
	}
	shared := 0
	for _, k := range p.Kinds {
		if k.MoE.SharedGate {
			shared = 1
		}
	}
	return [...]activation{{&ec.x, d}, {&ec.norm, d}, {&ec.ahead, d}, {&ec.q, p.QueryDim()}, {&ec.k, kv}, {&ec.v, kv},
		{&ec.attn, p.QueryDim()}, {&ec.out, d}, {&ec.embed, p.EmbedDim}, {&ec.scores, p.BundledNeurons()}, {&ec.gate, gate}, {&ec.up, up},
		{&ec.logitsE, p.Experts()}, {&ec.sharedGate, shared}}
}

// ScratchBytes is the memory of an ExecutionContext for chunk tokens.
func ScratchBytes(p config.ModelProfile, chunk int) int64 {
	n := memory.PieceBytes(4*int64(min(chunk, LogitRows))*int64(p.VocabSize)) + memory.PieceBytes(4*int64(HiddenSize(p, chunk)))
	for _, a := range new(ExecutionContext).byToken(p) {
		n += memory.PieceBytes(4 * int64(chunk) * int64(a.cols))
	}
	for _, k := range p.Kinds {
		n += memory.PieceBytes(4 * int64(chunk) * int64(k.RoPE.Dims))
	}
	if p.Experts() > 0 {
		n += memory.PieceBytes(4*int64(p.Experts())) + memory.PieceBytes(4*int64(chunk)*int64(p.MostTopK())*int64(p.HiddenSize))
	}
	return n
}

// NewExecutionContext makes a context for chunk tokens a step out of
// ScratchBytes of mem.
func NewExecutionContext(p config.ModelProfile, chunk int, mem *memory.Memory) *ExecutionContext {
	act := func(rows, cols int) device.Act {
		return device.Act{Data: mem.Floats(rows * cols), Rows: rows, Cols: cols, Stride: cols}
	}
	ec := &ExecutionContext{Ctx: context.Background(), chunk: chunk}
	ec.Count = &ec.Stats.Transfer
	for _, a := range ec.byToken(p) {
		*a.Act = act(chunk, a.cols)
	}
	for _, k := range p.Kinds {
		ec.angles = append(ec.angles, act(chunk, k.RoPE.Dims))
	}
	ec.logits = act(min(chunk, LogitRows), p.VocabSize)
	ec.hidden = mem.Floats(HiddenSize(p, chunk))
	if k := p.MostTopK(); k > 0 {
		ec.logitsAhead, ec.pairs = act(1, p.Experts()), act(chunk*k, p.HiddenSize)
		ec.routing = newRouting(p.Experts(), k, chunk)
		ec.failed = make([]error, chunk)
	}
	return ec
}

// begin sets the number of rows in use.
func (ec *ExecutionContext) begin(p config.ModelProfile, tokens int) {
	clear(ec.failed)
	for _, a := range ec.byToken(p) {
		a.Rows = tokens
	}
	for i := range ec.angles {
		ec.angles[i].Rows = tokens
	}
}

// Failed is why a row of the last step means nothing, nil if it does. Other rows, of
// other sequences, do not depend on it.
func (ec *ExecutionContext) Failed(row int) error {
	if row >= len(ec.failed) {
		return nil
	}
	return ec.failed[row]
}

// Hidden is the most activations of one MLP segment: neurons x tokens.
func (ec *ExecutionContext) Hidden() int { return len(ec.hidden) }

// Scores is the memory for a predictor's scores, [chunk, ffn].
func (ec *ExecutionContext) Scores() []float32 { return ec.scores.Data }

// Chunk is the most tokens of a step.
func (ec *ExecutionContext) Chunk() int { return ec.chunk }

// Final is n rows of the last step's result from the first on, [n, d]: the
// residual stream after the final norm.
func (ec *ExecutionContext) Final(first, n int) device.Act { return ec.x.Rowspan(first, n) }

// Spare is n rows of memory, [n, d], which the next step overwrites.
func (ec *ExecutionContext) Spare(n int) device.Act { return ec.norm.Rowspan(0, n) }
