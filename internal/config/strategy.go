package config

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Mode says which MLP neurons are computed.
type Mode string

// The modes. Dense and Gate are exact; the loss of Predicted is measured.
const (
	Auto      Mode = "auto"      // predicted where the sidecar says that it holds the quality, or the model is large; else gate
	Dense     Mode = "dense"     // every neuron
	Gate      Mode = "gate"      // the first half of every neuron, the second half of the active ones
	Predicted Mode = "predicted" // the neurons that the predictor asks for
)

// IOMode says how the pack file is read.
type IOMode string

// The ways to read a pack.
const (
	IODirect IOMode = "direct" // past the page cache (O_DIRECT), buffered where the file system refuses
	IOMmap   IOMode = "mmap"   // through a mapping; the page cache it fills is not ours to count
)

// OffloadStrategy is what is to be done with a model: where its weights may
// live and which neurons are computed. The zero value of every field but the
// two switches is a sensible default; start from DefaultStrategy.
type OffloadStrategy struct {
	// GPUCacheRatio is the share of MLP neurons that have a slot in fast
	// memory, 0 to 1. Unset (nil): what the budget leaves room for.
	GPUCacheRatio *float64
	// Budget is the fast memory that may be used. Zero: what GPUCacheRatio
	// needs, or without it the lesser of all weights and 80 % of free memory.
	Budget Budget
	// UseLRUEviction puts a missing neuron in the place of another, which Policy
	// picks. (The original system's word: there the least recently used.)
	// Without it the hottest neurons that fit stay for good or, before any
	// profile, the first.
	UseLRUEviction bool
	// Policy names the eviction policy; empty: the one that misses least on
	// recorded traces, or frozen without UseLRUEviction.
	Policy string
	// AsyncTransfer reads missing neurons while attention computes.
	AsyncTransfer bool

	// Quality is the largest relative change of perplexity that predicted
	// mode may cost where it is calibrated; 0: 0.005, which is 0.5 %.
	Quality float64

	Mode      Mode         // which neurons are computed; empty: auto
	Predictor string       // who asks for neurons; empty: sketch
	IO        IOMode       // how the pack is read; empty: direct
	KV        tensor.DType // element type of the KV cache: F32 (which zero is), F16 or Q8_0
	// Activations is what activations are rounded to before they are multiplied
	// with quantised weights: q8, 8 bits in blocks of 32, or f32, nothing, which
	// takes several times as long; empty: q8.
	Activations string
	Context     int // longest sequence; 0: the model's own limit, at most 2048
	Threads     int // compute threads; 0: one per processor that may be used
}

// The values of OffloadStrategy.Activations.
const (
	Q8Activations  = "q8"
	F32Activations = "f32"
)

// Ratio is a GPUCacheRatio of r.
func Ratio(r float64) *float64 { return &r }

// DefaultStrategy is the strategy of the original system, with a better choice
// of what to evict: neurons come and go, and transfers run beside attention. It
// spells out every default that has a word of its own.
func DefaultStrategy() OffloadStrategy {
	return OffloadStrategy{
		UseLRUEviction: true, AsyncTransfer: true,
		Mode: Auto, Predictor: "sketch", IO: IODirect, KV: tensor.F16, Activations: Q8Activations,
	}
}

// Validate reports the first field whose value makes no sense.
func (s OffloadStrategy) Validate() error {
	if r := s.GPUCacheRatio; r != nil && !(*r >= 0 && *r <= 1) {
		return fmt.Errorf("config: gpu-cache-ratio: got %v, want 0 to 1", *r)
	}
	switch s.Mode {
	case "", Auto, Dense, Gate, Predicted:
	default:
		return fmt.Errorf("config: mode: got %q, want auto, dense, gate or predicted", s.Mode)
	}
	switch s.IO {
	case "", IODirect, IOMmap:
	default:
		return fmt.Errorf("config: io: got %q, want direct or mmap", s.IO)
	}
	if s.KV != tensor.F32 && s.KV != tensor.F16 && s.KV != tensor.Q8_0 {
		return fmt.Errorf("config: kv: got %v, want f32, f16 or q8_0", s.KV)
	}
	if s.Activations != "" && s.Activations != Q8Activations && s.Activations != F32Activations {
		return fmt.Errorf("config: activations: got %q, want q8 or f32", s.Activations)
	}
	if !(s.Quality >= 0 && s.Quality <= 1) {
		return fmt.Errorf("config: quality: got %v, want 0%% to 100%%", s.Quality)
	}
	if s.Context < 0 {
		return fmt.Errorf("config: ctx: got %d, want 1 or more", s.Context)
	}
	if s.Threads < 0 || s.Threads > 1024 {
		return fmt.Errorf("config: threads: got %d, want 1 to 1024", s.Threads)
	}
	return s.Budget.Validate()
}
