package sparseflow

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// OffloadStrategy is what is to be done with a model: where its weights may
// live and which neurons are computed. The zero value of every field but the
// two switches is a sensible default; start from DefaultStrategy.
type OffloadStrategy struct {
	// GPUCacheRatio is the share of MLP neurons that have a slot in fast
	// memory, 0 to 1; see Ratio. Unset (nil): what the budget leaves room for.
	GPUCacheRatio *float64
	// Budget is the fast memory that may be used. Zero: what GPUCacheRatio
	// needs, or without it the lesser of all weights and 80 % of free memory.
	Budget Budget
	// UseLRUEviction puts a missing neuron in the place of another, which Policy
	// picks. (The original system's word: there the least recently used.)
	// Without it the hottest neurons that fit stay for good or, before any
	// profile, the first.
	UseLRUEviction bool
	// Policy names the eviction policy, lfu, lru or frozen; empty: lfu, or
	// frozen without UseLRUEviction.
	Policy string
	// AsyncTransfer reads missing neurons while attention computes.
	AsyncTransfer bool

	// Quality is the largest relative change of perplexity that predicted
	// mode may cost where it is calibrated; 0: 0.005, which is 0.5 %.
	Quality float64

	Mode      Mode   // which neurons are computed; empty: Auto
	Predictor string // who asks for neurons: sketch, lowrank, oracle or all; empty: sketch
	IO        IOMode // how the pack is read; empty: IODirect
	KV        DType  // element type of the KV cache: F32 (which zero is), F16 or Q8_0
	// Activations is what activations are rounded to before they are multiplied
	// with quantised weights: q8, 8 bits in blocks of 32, or f32, nothing, which
	// takes several times as long; empty: q8.
	Activations string
	Context     int // longest sequence in tokens; 0: the model's own limit, at most 2048
	Threads     int // compute threads; 0: one for each processor that may be used
}

// DefaultStrategy is the strategy of the original system, with a better choice of
// what to evict: neurons come and go, transfers run beside attention, and all the
// memory that is sensible is used.
func DefaultStrategy() OffloadStrategy {
	return mirror.To[OffloadStrategy](config.DefaultStrategy())
}

// Validate reports the first field whose value makes no sense.
func (s OffloadStrategy) Validate() error { return s.internal().Validate() }

func (s OffloadStrategy) internal() config.OffloadStrategy {
	return mirror.To[config.OffloadStrategy](s)
}

// Ratio is a GPUCacheRatio of r.
func Ratio(r float64) *float64 { return &r }

// Budget is a limit on fast memory, in one of two meanings. The zero Budget
// means that none was given.
type Budget struct {
	// Share limits resident weights, slots and predictors to this multiple
	// of the model's weight bytes (0.58 is 58 %).
	Share float64
	// Bytes limits the whole process.
	Bytes int64
}

// ParseBudget reads "58%" or a size such as "4GiB".
func ParseBudget(s string) (Budget, error) {
	b, err := config.ParseBudget(s)
	return Budget(b), err
}

// IsZero reports whether no budget was given.
func (b Budget) IsZero() bool { return b == Budget{} }

// String is the budget as ParseBudget reads it, a share to 15 digits.
func (b Budget) String() string { return config.Budget(b).String() }

// Validate reports a budget that is negative, not a number, or both kinds.
func (b Budget) Validate() error { return config.Budget(b).Validate() }

// Mode says which MLP neurons are computed.
type Mode string

// The modes. Dense and Gate are exact; the loss of Predicted is measured.
const (
	Auto      Mode = "auto"      // predicted where the sidecar says that it holds the quality, or the model is large; else gate
	Dense     Mode = "dense"     // every neuron
	Gate      Mode = "gate"      // the first half of every neuron, the second half of the active ones
	Predicted Mode = "predicted" // the neurons that the predictor asks for
)

// IOMode says how a pack is read.
type IOMode string

// The ways to read a pack.
const (
	IODirect IOMode = "direct" // past the page cache (O_DIRECT), buffered where the file system refuses
	IOMmap   IOMode = "mmap"   // through a mapping; the page cache it fills is not ours to count
)

// DType is an element type: of stored weights, or of the KV cache.
type DType uint8

// The element types: those of checkpoints, then GGUF's blocks. The KV cache can
// be F32, F16 or, where the head dim is a multiple of 32, Q8_0.
const (
	F32    DType = iota // IEEE 754 binary32
	F16                 // IEEE 754 binary16
	BF16                // the upper half of a binary32 (bfloat16)
	Q8_0                // blocks of 32: 8-bit integers and a scale
	Q4_0                // blocks of 32: 4-bit integers and a scale
	Q4_1                // blocks of 32: 4-bit integers, a scale and a least value
	Q5_0                // blocks of 32: 5-bit integers and a scale
	Q5_1                // blocks of 32: 5-bit integers, a scale and a least value
	Q2_K                // blocks of 256: 2-bit integers, a scale and a least value for every 16
	Q3_K                // blocks of 256: 3-bit integers and a scale for every 16
	Q4_K                // blocks of 256: 4-bit integers, a scale and a least value for every 32
	Q5_K                // blocks of 256: 5-bit integers, a scale and a least value for every 32
	Q6_K                // blocks of 256: 6-bit integers and a scale for every 16
	IQ4_NL              // blocks of 32: 4-bit indices of a table and a scale
	IQ4_XS              // blocks of 256: 4-bit indices of a table and a scale for every 32
	MXFP4               // blocks of 32: 4-bit floats and an exponent
)

// String is the name that safetensors uses, F32, F16 or BF16, or GGUF's.
func (d DType) String() string { return tensor.DType(d).String() }

// Valid reports whether d is one of the constants.
func (d DType) Valid() bool { return tensor.DType(d).Valid() }

// Quantised reports whether elements are stored in blocks.
func (d DType) Quantised() bool { return tensor.DType(d).Quantised() }

// RowBytes is the size in bytes of n consecutive elements, of a quantised type
// that of as many blocks as n elements take.
func (d DType) RowBytes(n int) int64 { return tensor.DType(d).RowBytes(n) }

// OfRow is the type that a matrix of d gets whose rows have n elements: d or,
// where its blocks do not fill the rows, one of smaller blocks or F16.
func (d DType) OfRow(n int) DType { return DType(tensor.DType(d).OfRow(n)) }
