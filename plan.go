package sparseflow

import (
	"errors"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Placement is what lives where for a budget, and what a token is expected to
// move.
type Placement struct {
	Mode    Mode   // Dense, Gate or, where any layer is, Predicted
	Auto    bool   // Auto was asked for, and Mode is what it comes to
	Chosen  string // what Auto comes to in the layers, in words; empty without it
	Context int    // longest sequence, in tokens
	Chunk   int    // most tokens of one step
	Threads int    // compute threads

	Active     float64 // share of the neurons that is active at a token, over all layers; 0 of models that are not sparse
	ActiveFrom string  // how that is known: assumed, drawn (of synthetic weights) or measured
	ActiveLike string  // the published model that it is assumed from, empty otherwise

	Resident  map[string]bool // matrices in fast memory; the others stream
	Streamed  int             // matrices that a token needs in full and that stream
	Streams   []bool          // [layers] that have matrices which stream
	Predicted []bool          // [layers] that compute what a predictor asks for, which is in fast memory
	// Gates says that the first parts of all neurons are in fast memory in mode gate
	// and are the predictor: only neurons that they open are read.
	Gates     bool
	Slots     []int   // [layers] slots for units: neurons, or experts
	SlotBytes []int64 // [layers] of a slot, 0 in layers without units
	RingSlots int     // staging slots for units without a slot
	RingBytes int64   // of a staging slot

	KVBytes     int64 // of the KV cache
	BlockBytes  int64 // size of a staging buffer for a block of any tensor
	BlockSlots  int   // staging buffers that matrices stream through
	MemoryBytes int64 // all that is taken from the system at the start, beside the Go heap
	LoadBytes   int64 // what is read at the start

	Share   Account  // weights alone
	Process Account  // the whole process
	Fits    bool     // the budget holds the minimum, and the slots asked for
	Tiers   []Tier   // the fast one first
	Notices []string // what the user should know, in words
	Token   PerToken // what one decoded token moves
}

// Account is a budget beside the least that works without a ratio, and what all
// of it would be.
type Account struct {
	TotalBytes   int64 `json:"total_bytes"`   // everything resident
	BudgetBytes  int64 `json:"budget_bytes"`  // what may be used
	MinimumBytes int64 `json:"minimum_bytes"` // the smallest budget that works
}

// Tier is a kind of memory and what lives in it.
type Tier struct {
	Name  string `json:"name"`  // for people
	Bytes int64  `json:"bytes"` // the sum of Items
	Items []Item `json:"items"` // what it holds
}

// Item is one thing that a tier holds.
type Item struct {
	What  string `json:"what"`  // for people
	Bytes int64  `json:"bytes"` // what it takes
}

// PerToken is what one decoded token is expected to move.
type PerToken struct {
	FastBytes     int64   // of weights multiplied, wherever they were before
	NeuronBytes   int64   // of these, of neurons that lie apart in memory
	CompleteBytes int64   // of these, of layers that are computed as a whole, all in memory
	SlowBytes     int64   // read from the pack
	StreamedBytes int64   // of these, of matrices, which are read in order
	ExpertBytes   int64   // of SlowBytes, of experts, which are read while others are multiplied
	Experts       float64 // that a token wants, in all layers
	Misses        float64 // units, neurons or experts, that are read
	Reads         float64 // that bring them and the matrices
	Layers        int     // that it passes
}

// Seconds is how long a token takes if neurons are read and computed one after the
// other, and matrices that stream are multiplied as they come. Experts are read while
// others are multiplied: then it is the longer of both.
func (t PerToken) Seconds(r Rates) float64 {
	return placement.PerToken(t).Seconds(placement.Rates(r))
}

// Rates are how many bytes of weights a machine multiplies in a second, from
// memory, and how many it reads.
type Rates struct {
	Rows     float64 // rows of matrices, in order
	Neurons  float64 // neurons that lie apart
	Complete float64 // all neurons of layers
	Random   float64 // read from the pack, neuron by neuron
	InOrder  float64 // read from the pack, in order
	Layer    float64 // seconds that a layer takes beside its weights
}

// BudgetError is the error of a budget below the smallest that works.
type BudgetError struct {
	What    string // what is too small, and for what
	Got     string // the budget, as a size or a share
	Minimum string // the smallest that works
	Advice  string // what to do

	err error // that it was made of, nil: none
}

// Error is what is too small, by how much, and what to do.
func (e *BudgetError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return (&placement.BudgetError{What: e.What, Got: e.Got, Minimum: e.Minimum, Advice: e.Advice}).Error()
}

// Unwrap is the error that e tells of.
func (e *BudgetError) Unwrap() error { return e.err }

// withBudget is err, as a BudgetError where a budget is what is wrong.
func withBudget(err error) error {
	var b *placement.BudgetError
	if !errors.As(err, &b) {
		return err
	}
	return &BudgetError{b.What, b.Got, b.Minimum, b.Advice, err}
}

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
	return o.plan(l)
}

// PlanConfig places a model of which there is a config alone, as if its weights
// were of the given element type: whether it would run, before any download.
func PlanConfig(c SparseFlowConfig, weights DType, opts ...Option) (*Placement, error) {
	return PlanQuant(c, weights.String(), opts...)
}

// PlanQuant is PlanConfig for weights as the --quant of pack has them: of an
// element type, or of a mix such as q4_k_m.
func PlanQuant(c SparseFlowConfig, quant string, opts ...Option) (*Placement, error) {
	o := makeOptions(append(opts, WithStrategy(c.Strategy)))
	if err := c.Profile.Validate(); err != nil {
		return nil, err
	}
	spec := pack.Spec{Profile: c.Profile.internal(), Name: c.Profile.Family,
		Tokenizer: map[string][]byte{"vocab.json": make([]byte, min(tokenBytes*c.Profile.VocabSize, mostVocab))}}
	if err := convert.Quantise(&spec, quant); err != nil {
		return nil, err
	}
	l, err := spec.Layout()
	if err != nil {
		return nil, err
	}
	return o.plan(l)
}

// The files of a tokenizer that has not been seen, for each token and in all.
const (
	tokenBytes = 27 // as OPT's vocab.json and merges.txt
	mostVocab  = 64 << 20
)

// plan is the placement of l, whose notices are told.
func (o *options) plan(l *pack.Layout) (*Placement, error) {
	p, err := engine.Plan(l, o.engine)
	if p != nil && o.notify != nil {
		for _, n := range p.Notices {
			o.notify(n)
		}
	}
	return mirror.To[*Placement](p), withBudget(err)
}
