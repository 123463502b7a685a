package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// outcome is everything that a request shows: a hash of all logits' bits, and
// the tokens.
type outcome struct {
	logits uint64
	ids    []int32
	stats  engine.Stats
}

// outcomeOf scores a prompt and continues it by drawing, since the likeliest token
// of a small model is often the same whatever goes wrong.
func outcomeOf(t *testing.T, e *engine.Engine, ids []int32, n int) outcome {
	t.Helper()
	return outcomeWith(t, e, engine.Request{IDs: ids, MaxTokens: n, IgnoreEOS: true, Sampling: sample.Params{Temperature: 1, Seed: 7}})
}

// outcomeWith carries out a request.
func outcomeWith(t *testing.T, e *engine.Engine, r engine.Request) outcome {
	t.Helper()
	h := fnv.New64a()
	r.Logits = func(_ int, logits []float32) {
		for _, v := range logits {
			u := math.Float32bits(v)
			h.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
		}
	}
	res, err := e.Run(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{h.Sum64(), res.IDs, res.Stats}
}

// activations sums up all that are not zero, in whatever order and steps they are
// computed: decoding shows no logits.
type activations struct{ sum uint64 }

func (a *activations) observe(layer, tokens int, w device.Work, h []float32) {
	for i, v := range h {
		if v != 0 {
			at := uint64(layer)<<32 | uint64(w.IDs[i/tokens])
			a.sum += (at*0x9e3779b97f4a7c15 ^ uint64(math.Float32bits(v))) * 0xbf58476d1ce4e5b9
		}
	}
}

func prompt(vocab, n int) []int32 {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(vocab))
	}
	return ids
}

// variant is a way to run that must change nothing.
type variant struct {
	name string
	o    engine.Options
}

// variants are ways to compute every neuron: modes, budgets in both meanings
// (the smallest computes prompts in pieces of 16, the others at once), policies,
// reads beside or between, thread counts, ways to read, kernels.
func variants(t *testing.T, path string) []variant {
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	place, err := engine.Plan(p.Layout, engine.Options{Strategy: strategy(config.Dense, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var vs []variant
	add := func(name string, change func(*config.OffloadStrategy)) *engine.Options {
		s := strategy(config.Dense, 0.58)
		change(&s)
		vs = append(vs, variant{name, engine.Options{Strategy: s}})
		return &vs[len(vs)-1].o
	}
	for _, mode := range []config.Mode{config.Dense, config.Gate, config.Predicted} {
		for _, share := range []float64{smallest(t, path), 0.4, 0.58, 0.8, 3} {
			add(fmt.Sprintf("%s at %.0f%%", mode, 100*share), func(s *config.OffloadStrategy) {
				s.Mode, s.Predictor, s.Budget.Share = mode, "all", share
			})
		}
	}
	least := config.Budget{Bytes: place.Process.MinimumBytes}
	add("smallest in bytes", func(s *config.OffloadStrategy) { s.Budget = least })
	add("ratio 0", func(s *config.OffloadStrategy) { s.Budget, s.GPUCacheRatio = config.Budget{}, config.Ratio(0) })
	add("ratio 0.3", func(s *config.OffloadStrategy) { s.Budget, s.GPUCacheRatio = config.Budget{}, config.Ratio(0.3) })
	add("frozen", func(s *config.OffloadStrategy) { s.UseLRUEviction = false })
	add("synchronous", func(s *config.OffloadStrategy) { s.AsyncTransfer = false })
	add("synchronous, smallest", func(s *config.OffloadStrategy) { s.AsyncTransfer, s.Budget = false, least })
	add("mmap", func(s *config.OffloadStrategy) { s.IO = config.IOMmap })
	for _, share := range []float64{smallest(t, path), 0.58} {
		add(fmt.Sprintf("simulated disk at %.0f%%", 100*share), func(s *config.OffloadStrategy) { s.Budget.Share = share }).OpenFile =
			disk.SimSpec{IOPS: 1e6, BytesPerSecond: 1e10, Latency: 10 * time.Microsecond}.Opener()
	}
	for _, share := range []float64{smallest(t, path), 0.58, 3} {
		add(fmt.Sprintf("opened early at %.0f%%", 100*share), func(s *config.OffloadStrategy) { s.Budget.Share = share }).Early = true
	}
	for n := range 4 {
		add(fmt.Sprintf("%d threads", n+1), func(s *config.OffloadStrategy) { s.Threads = n + 1 })
	}
	for _, k := range kernel.All() {
		add("kernels "+k.Name, func(*config.OffloadStrategy) {}).Kernels = &k
	}
	return vs
}

// Law 1: whatever the placement, budget, policy, order of arrival, threads and
// instruction set, all neurons give the same logits, bit for bit.
func TestExactWhateverThePlacement(t *testing.T) {
	for name, src := range checkpoints(t) {
		long := []string{"tiny", "families/llama-bias", "families/mistral-window", "families/qwen3"}
		some := []string{"opt/odd-sizes", "opt/post-norm-proj", "opt/untied", "families/llama-relu", "families/gemma3"}
		if !slices.Contains(some, name) && (testing.Short() || !slices.Contains(long, name)) {
			continue // the same shapes as one of these, which have all ways
		}
		t.Run(name, func(t *testing.T) { checkVariants(t, packOf(t, src, name)) })
	}
}

// checkVariants compares every variant of a pack with the first.
func checkVariants(t *testing.T, path string) {
	tokens, more := 45, 8
	if testing.Short() { // for the race detector: two pieces of a prompt have all that three have
		tokens, more = 20, 3
	}
	var want outcome
	for i, v := range variants(t, path) {
		var seen activations
		v.o.Observe = seen.observe
		e := open(t, path, v.o)
		got := outcomeOf(t, e, prompt(e.Profile().VocabSize, tokens), more)
		got.logits += seen.sum
		if i == 0 {
			want = got
		}
		if got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
			t.Errorf("%s: got %x %v, want %x %v", v.name, got.logits, got.ids, want.logits, want.ids)
		}
	}
}

// Requests that share steps get what each gets alone, in every mode, the
// predicted ones too: each sequence's set of neurons is its own.
func TestExactWhateverTheBatch(t *testing.T) {
	path := tinyPack(t)
	for _, mode := range []config.Mode{config.Dense, config.Gate, config.Predicted} {
		t.Run(string(mode), func(t *testing.T) {
			s := strategy(mode, 3)
			s.Context = 96
			e := open(t, path, engine.Options{Strategy: s})
			// Twice as many as the KV cache has room for at once, so that
			// some wait.
			const n = 8
			want := make([]outcome, n)
			for i := range want {
				want[i] = outcomeOf(t, e, prompt(4096, 3+7*i), 12)
			}
			var wg sync.WaitGroup
			for i := range want {
				wg.Go(func() {
					got := outcomeOf(t, e, prompt(4096, 3+7*i), 12)
					if got.logits != want[i].logits || !slices.Equal(got.ids, want[i].ids) {
						t.Errorf("request %d: got %x %v, want %x %v", i, got.logits, got.ids, want[i].logits, want[i].ids)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Windows give pages back, which others take, and no request notices: not in which
// pieces a prompt is computed, nor beside which others.
func TestExactWindows(t *testing.T) {
	for _, name := range []string{"families/gemma3", "families/mistral-window"} {
		path := packOf(t, longer(t, name), name)
		s := strategy(config.Dense, 3)
		e := open(t, path, engine.Options{Strategy: s})
		s.Budget = config.Budget{Bytes: e.Placement().Process.MinimumBytes}
		pieces := open(t, path, engine.Options{Strategy: s})
		if pieces.Placement().Chunk != 16 || pieces.Placement().KVBytes > e.Placement().KVBytes*3/4 {
			t.Errorf("%s: got pieces of %d tokens and a KV cache of %d bytes, want 16 and less than %d", name, pieces.Placement().Chunk, pieces.Placement().KVBytes, e.Placement().KVBytes)
		}
		ids := prompt(320, 400)
		whole := outcomeOf(t, e, ids, 0)
		if got := outcomeOf(t, pieces, ids, 0); got.logits != whole.logits {
			t.Errorf("%s: got %x in pieces of 16, want %x", name, got.logits, whole.logits)
		}
		res, err := pieces.Run(context.Background(), engine.Request{IDs: ids[:5], MaxTokens: 300, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		all := append(slices.Clone(ids[:5]), res.IDs...)
		for n := 20; n < len(all); n += 41 {
			next, err := e.Run(context.Background(), engine.Request{IDs: all[:n], MaxTokens: 1, IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			if next.IDs[0] != all[n] {
				t.Errorf("%s: token %d: got %d after a prompt, %d after decoding", name, n, next.IDs[0], all[n])
			}
		}
		want := make([]outcome, 6)
		for i := range want {
			want[i] = outcomeOf(t, e, ids[i:], 0)
		}
		var wg sync.WaitGroup
		for i := range want {
			wg.Go(func() {
				if got := outcomeOf(t, pieces, ids[i:], 0); got.logits != want[i].logits {
					t.Errorf("%s: request %d: got %x, want %x", name, i, got.logits, want[i].logits)
				}
			})
		}
		wg.Wait()
	}
}

// longer is a golden checkpoint with a context of 512 tokens.
func longer(t *testing.T, name string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, checkpoints(t)[name]); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(raw, []byte(`"max_position_embeddings": 128`), []byte(`"max_position_embeddings": 512`), 1), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.DirFS(dir)
}

// Prompt and decoding agree: a token is the same whether the one before it was
// part of a prompt or generated, also where a step samples a layer's recall.
func TestPrefillEqualsDecode(t *testing.T) {
	path := tinyPack(t)
	for _, mode := range []config.Mode{config.Dense, config.Predicted} {
		e := open(t, path, engine.Options{Strategy: strategy(mode, 0.7)})
		ids := prompt(4096, 20)
		res, err := e.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 80, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := res.Stats.Recall(); ok != (mode == config.Predicted) || ok && r < 0.5 {
			t.Errorf("%s: got recall %v, %v after 80 tokens, want it sampled in predicted mode", mode, r, ok)
		}
		all := append(slices.Clone(ids), res.IDs...)
		for n := len(ids); n < len(all); n += 7 {
			next, err := e.Run(context.Background(), engine.Request{IDs: all[:n], MaxTokens: 1, IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			if next.IDs[0] != all[n] {
				t.Errorf("%s: token %d: got %d after a prompt, %d after decoding", mode, n, next.IDs[0], all[n])
			}
		}
	}
}

// An audit computes everything and changes nothing: the logits are those of a
// run without it, and what it counts fits what that run computed.
func TestAuditChangesNothing(t *testing.T) {
	path := small(t, convert.Options{})
	const inBytes = -1
	for _, share := range []float64{smallestOf(t, path, engine.Options{Strategy: strategy(config.Predicted, 1)}), 0.58, 3, inBytes} {
		s := strategy(config.Predicted, max(share, 0))
		if share == inBytes {
			s.Budget = config.Budget{Bytes: planOf(t, path, engine.Options{Strategy: s}).Process.MinimumBytes}
		}
		e := open(t, path, engine.Options{Strategy: s})
		ids := prompt(smallVocab, 140)
		if share == inBytes && e.Placement().Chunk >= len(ids) {
			t.Errorf("got chunks of %d tokens, want the prompt in several", e.Placement().Chunk)
		}
		plain := outcomeOf(t, e, ids, 0)
		audit := model.NewAudit(e.Profile().Layers)
		audited := outcomeWith(t, e, engine.Request{IDs: ids, Audit: audit})
		exact := outcomeWith(t, e, engine.Request{IDs: ids, Exact: true})
		dense := outcomeOf(t, open(t, path, engine.Options{Strategy: strategy(config.Dense, 1)}), ids, 0)
		if audited.logits != plain.logits {
			t.Errorf("at %.2f: got %x with an audit, %x without", share, audited.logits, plain.logits)
		}
		if exact.logits != dense.logits {
			t.Errorf("at %.2f: got %x for an exact request, %x in dense mode", share, exact.logits, dense.logits)
		}
		var all model.LayerAudit
		for l, a := range audit.Layers {
			all.Add(a)
			if a.Tokens != 140 || a.Found > a.Active || a.Found > a.Computed || a.Active == 0 {
				t.Errorf("at %.2f: layer %d: got %+v", share, l, a)
			}
		}
		for _, s := range []engine.Stats{plain.stats, audited.stats} {
			if s.Active != all.Found || s.Computed != all.Computed {
				t.Errorf("at %.2f: got %d active of %d computed, want %d of %d as audited", share, s.Active, s.Computed, all.Found, all.Computed)
			}
		}
	}
}
