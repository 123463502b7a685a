package engine_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/lab/reads"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The load-only probe reads the bytes that a step of decoding reads, no more and
// no less, in every mode; and they are as many as the counters say.
func TestLoadIsWhatWasMultiplied(t *testing.T) {
	types := map[string]string{
		"keep": small(t, convert.Options{}),
		"q8_0": small(t, convert.Options{Attn: convert.Q8_0, MLP: convert.Q8_0}),
		"q4_0": small(t, convert.Options{Attn: convert.Q4_0, MLP: convert.Q4_0}),
		"bf16": small(t, convert.Options{Attn: convert.BF16, MLP: convert.BF16}),
		"f32":  small(t, convert.Options{Attn: convert.F32, MLP: convert.F32}),
	}
	oracle := strategy(config.Predicted, 4)
	oracle.Predictor = "oracle"
	for name, s := range map[string]config.OffloadStrategy{
		"dense":     strategy(config.Dense, 3),
		"gate":      strategy(config.Gate, 3),
		"predicted": strategy(config.Predicted, 3),
		"oracle":    oracle,
		"58%":       strategy(config.Predicted, 0.58),
	} {
		for dt, path := range types {
			t.Run(name+"/"+dt, func(t *testing.T) { checkLoad(t, path, s) })
		}
	}
}

// checkLoad compares what kernels that note their operands' addresses are given
// in two steps with what they are given by the probe of these steps.
func checkLoad(t *testing.T, path string, s config.OffloadStrategy) {
	seen := new(spans)
	k := noting(seen)
	s.Threads = 3
	var rec reads.Recorder
	e := open(t, path, engine.Options{Strategy: s, Kernels: &k, Reads: rec.Note})
	loader := reads.NewLoader(k, s.Threads)
	defer loader.Close()
	if e.Placement().Streamed > 0 {
		t.Fatal("got matrices that stream, which are not loaded")
	}
	seen.take()
	rec.Begin()
	// The prompt's token and one decoded one.
	res, err := e.Run(context.Background(), engine.Request{IDs: prompt(smallVocab, 1), MaxTokens: 2, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	want := seen.take()
	bytes, took := loader.Load(rec.End(2))
	if got := seen.take(); !slices.Equal(got, want) {
		t.Errorf("got %d runs of memory loaded, %d read; want the same", len(got), len(want))
	}
	if bytes != res.Stats.FastBytes || took <= 0 {
		t.Errorf("got %d bytes in %v, want %d", bytes, took, res.Stats.FastBytes)
	}
}

// What the first token has filled, a layer with all its neurons, is read in
// order by the next: the bytes that lie between bundles are gone. Where a neuron
// is missing bundles stay as they are.
func TestCompleteLayersAreReadInOrder(t *testing.T) {
	path := small(t, convert.Options{Attn: convert.Q8_0, MLP: convert.Q8_0}) // has such bytes
	for share, ordered := range map[float64]bool{3: true, 0.58: false} {
		seen := new(spans)
		k := noting(seen)
		e := open(t, path, engine.Options{Strategy: strategy(config.Gate, share), Kernels: &k})
		for token := range 3 {
			seen.take()
			if _, err := e.Run(context.Background(), engine.Request{IDs: prompt(smallVocab, 1), MaxTokens: 1, IgnoreEOS: true}); err != nil {
				t.Fatal(err)
			}
			runs, few := len(seen.take()), e.Profile().FFN
			if got := runs < few; got != (ordered && token > 0) {
				t.Errorf("at %v, token %d: read %d runs of memory; want fewer than %d: %v", share, token, runs, few, !got)
			}
		}
	}
}

// The last steps are those after the last heads.
func TestRecordedSteps(t *testing.T) {
	var rec reads.Recorder
	e := open(t, small(t, convert.Options{}), engine.Options{Strategy: strategy(config.Dense, 3), Reads: rec.Note})
	loader := reads.NewLoader(kernel.Best(), 2)
	defer loader.Close()
	rec.Begin()
	res, err := e.Run(context.Background(), engine.Request{IDs: prompt(smallVocab, 1), MaxTokens: 4, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := loader.Load(rec.End(2)); got != res.Stats.FastBytes/2 {
		t.Errorf("got %d bytes of 2 steps, want half of the %d of 4", got, res.Stats.FastBytes)
	}
	if got, _ := loader.Load(rec.End(2)); got != 0 {
		t.Errorf("got %d bytes of steps that were not recorded, want 0", got)
	}
}

// spans is runs of memory.
type spans struct {
	mu  sync.Mutex
	all [][2]uintptr // from, to
}

func note[T any](s *spans, p []T) {
	if len(p) == 0 {
		return
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	s.mu.Lock()
	s.all = append(s.all, [2]uintptr{at, at + uintptr(len(p))*unsafe.Sizeof(p[0])})
	s.mu.Unlock()
}

// take is the memory noted since the last take, runs that touch or overlap
// joined.
func (s *spans) take() (joined [][2]uintptr) {
	slices.SortFunc(s.all, func(a, b [2]uintptr) int { return cmp.Compare(a[0], b[0]) })
	for _, r := range s.all {
		if n := len(joined); n > 0 && r[0] <= joined[n-1][1] {
			joined[n-1][1] = max(joined[n-1][1], r[1])
			continue
		}
		joined = append(joined, r)
	}
	s.all = nil
	return joined
}

// noting is the best kernels, which tell s what weights they are given.
func noting(s *spans) kernel.Set {
	k := kernel.Best()
	best := k
	k.DotU4S8 = func(w []byte, x []int8) int32 { note(s, w); return best.DotU4S8(w, x) }
	all := []*kernel.Rows{&k.F32, &k.F16, &k.BF16, &k.Q8, &k.Q4}
	k.Blocks = make(map[tensor.DType]*kernel.Rows)
	for dt, rows := range best.Blocks {
		own := *rows
		k.Blocks[dt], all = &own, append(all, &own)
	}
	for _, rows := range all {
		best := *rows
		rows.Dot = func(w, x []byte, next *byte) float32 { note(s, w); return best.Dot(w, x, next) }
		rows.MatVec = func(y []float32, w []byte, rowBytes int, x []byte, ahead int) {
			note(s, w)
			best.MatVec(y, w, rowBytes, x, ahead)
		}
		if best.Fine != nil {
			rows.Fine = func(y []float32, w []byte, rowBytes int, x []byte, stride, ahead int) {
				note(s, w)
				best.Fine(y, w, rowBytes, x, stride, ahead)
			}
		}
		rows.Axpy = func(y []float32, a float32, w []byte, next *byte) { note(s, w); best.Axpy(y, a, w, next) }
		rows.Axpy4 = func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte) {
			for _, row := range w {
				note(s, row)
			}
			best.Axpy4(y, a, w, next)
		}
	}
	k.Load = func(b []byte, next *byte) uint64 { note(s, b); return best.Load(b, next) }
	return k
}

// A ring larger than the planned one is on top of the budget, and changes
// nothing about what stays.
func TestRingSlots(t *testing.T) {
	path := small(t, convert.Options{})
	s := strategy(config.Dense, 0.58)
	s.AsyncTransfer = false
	plain := open(t, path, engine.Options{Strategy: s})
	large := open(t, path, engine.Options{Strategy: s, RingSlots: 2048})
	a, b := plain.Placement(), large.Placement()
	if !slices.Equal(a.Slots, b.Slots) || b.RingSlots != 2048 || b.MemoryBytes-a.MemoryBytes != int64(2048-a.RingSlots)*plain.Pack().BundleStride() {
		t.Errorf("got slots %v, ring %d, %d bytes; want %v, 2048, and the ring's bytes above %d", b.Slots, b.RingSlots, b.MemoryBytes, a.Slots, a.MemoryBytes)
	}
	want, got := outcomeOf(t, plain, prompt(smallVocab, 20), 10), outcomeOf(t, large, prompt(smallVocab, 20), 10)
	if got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
		t.Errorf("got %x %v with a large ring, %x %v without", got.logits, got.ids, want.logits, want.ids)
	}
}
