package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Mode says which MLP neurons are computed.
type Mode string

// The modes. Dense and Gate are exact; the loss of Predicted is measured.
const (
	Auto      Mode = "auto"      // the fastest that holds the quality floor
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
	// UseLRUEviction replaces the least recently used neuron by a missing
	// one. Without it the first neurons that fit stay for good.
	UseLRUEviction bool
	// Policy names the eviction policy; empty: lru, or frozen without
	// UseLRUEviction.
	Policy string
	// AsyncTransfer reads missing neurons while attention computes.
	AsyncTransfer bool

	Mode      Mode         // which neurons are computed; empty: auto
	Predictor string       // who asks for neurons; empty: sketch
	IO        IOMode       // how the pack is read; empty: direct
	KV        tensor.DType // element type of the KV cache: F32 or F16
	Context   int          // longest sequence; 0: the model's own limit, at most 2048
	Threads   int          // compute threads; 0: one per processor
}

// Ratio is a GPUCacheRatio of r.
func Ratio(r float64) *float64 { return &r }

// DefaultStrategy is the strategy of the original system: least recently used
// eviction and transfers beside attention.
func DefaultStrategy() OffloadStrategy {
	return OffloadStrategy{UseLRUEviction: true, AsyncTransfer: true}
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
	if s.KV != tensor.F32 && s.KV != tensor.F16 {
		return fmt.Errorf("config: kv: got %v, want f32 or f16", s.KV)
	}
	if s.Context < 0 {
		return fmt.Errorf("config: ctx: got %d, want 1 or more", s.Context)
	}
	if s.Threads < 0 || s.Threads > 1024 {
		return fmt.Errorf("config: threads: got %d, want 1 to 1024", s.Threads)
	}
	return s.Budget.Validate()
}

// Budget is a limit on fast memory, in one of two meanings. The zero Budget
// means that none was given.
type Budget struct {
	// Share limits resident weights, slots and predictors to this multiple
	// of the model's weight bytes (0.58 is 58 %).
	Share float64
	// Bytes limits the whole process.
	Bytes int64
}

// IsZero reports whether no budget was given.
func (b Budget) IsZero() bool { return b == Budget{} }

// Validate reports a budget that is negative, not a number, or both kinds.
func (b Budget) Validate() error {
	if !(b.Share >= 0) || math.IsInf(b.Share, 1) || b.Bytes < 0 || b.Share > 0 && b.Bytes > 0 {
		return fmt.Errorf("config: budget: got %v, want a share such as 58%% or a size such as 4GiB", b)
	}
	return nil
}

// String is the budget as a flag would give it.
func (b Budget) String() string {
	if b.Share > 0 {
		return strconv.FormatFloat(b.Share*100, 'f', -1, 64) + "%"
	}
	return strconv.FormatInt(b.Bytes, 10)
}

// ParseBudget reads "58%" or a size as ParseSize does.
func ParseBudget(s string) (Budget, error) {
	if p, ok := strings.CutSuffix(strings.TrimSpace(s), "%"); ok {
		v, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || !(v > 0) || v > 1e6 {
			return Budget{}, fmt.Errorf("config: budget: got %q, want a share such as 58%%", s)
		}
		return Budget{Share: v / 100}, nil
	}
	n, err := ParseSize(s)
	if err != nil || n <= 0 {
		return Budget{}, fmt.Errorf("config: budget: got %q, want a share such as 58%% or a size such as 4GiB", s)
	}
	return Budget{Bytes: n}, nil
}

var units = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1}, {"", 1},
}

// ParseSize reads a number of bytes: a number and a unit, where kB, MB, GB
// are powers of 1000, KiB, MiB, GiB of 1024, and no unit means bytes.
func ParseSize(s string) (int64, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	for _, u := range units {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !(v >= 0) || v*u.bytes > 1<<60 {
			break
		}
		return int64(v * u.bytes), nil
	}
	return 0, fmt.Errorf("config: size: got %q, want a number and kB, MB, GB, KiB, MiB or GiB", s)
}

// FormatSize writes n as people read it, in powers of 1000.
func FormatSize(n int64) string {
	v := float64(n)
	for _, u := range []string{"B", "kB", "MB", "GB"} {
		if math.Abs(v) < 1000 {
			return strconv.FormatFloat(v, 'f', min(2, 2*len(u)-2), 64) + " " + u
		}
		v /= 1000
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " TB"
}
