package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/lab/tinymoe"
	"github.com/sparseflow/sparseflow/internal/lab/twin"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// mixture writes a small mixture of experts of drawn weights.
func mixture(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := tinymoe.Write(dir, tinymoe.Least()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openMixture opens a mixture of experts as a user does, where it lies or packed.
func openMixture(t testing.TB, path, cache string, o engine.Options) *engine.Engine {
	t.Helper()
	src, err := hub.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := convert.Open(t.Context(), src, cache, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// leastShare is the least share of the weights that a model runs in.
func leastShare(place *placement.Placement) float64 {
	return (float64(place.Share.MinimumBytes) + 1) / float64(place.Share.TotalBytes)
}

// expertVariants are ways to run experts that must change nothing. place is where
// everything is in memory.
func expertVariants(place *placement.Placement) (vs []variant) {
	add := func(name string, change func(*config.OffloadStrategy)) *engine.Options {
		s := strategy(config.Auto, 0.5)
		change(&s)
		vs = append(vs, variant{name, engine.Options{Strategy: s}})
		return &vs[len(vs)-1].o
	}
	smallest := leastShare(place)
	shares := []float64{3, smallest, 0.3, 0.5, 0.8}
	for _, share := range shares {
		for _, async := range []bool{true, false} {
			add(fmt.Sprintf("at %.0f%%, async %v", 100*share, async), func(s *config.OffloadStrategy) {
				s.Budget.Share, s.AsyncTransfer = share, async
			})
		}
		add(fmt.Sprintf("opened early at %.0f%%", 100*share), func(s *config.OffloadStrategy) { s.Budget.Share = share }).Early = true
	}
	add("smallest in bytes", func(s *config.OffloadStrategy) { s.Budget = config.Budget{Bytes: place.Process.MinimumBytes} })
	add("ratio 0", func(s *config.OffloadStrategy) { s.Budget, s.GPUCacheRatio = config.Budget{}, config.Ratio(0) })
	add("frozen", func(s *config.OffloadStrategy) { s.UseLRUEviction = false })
	for _, policy := range []string{"lru", "lfu"} {
		add("policy "+policy, func(s *config.OffloadStrategy) { s.Policy = policy })
	}
	for _, mode := range []config.Mode{config.Dense, config.Gate} {
		add("mode "+string(mode), func(s *config.OffloadStrategy) { s.Mode = mode })
	}
	add("mmap", func(s *config.OffloadStrategy) { s.IO = config.IOMmap })
	for _, share := range []float64{smallest, 0.5} {
		add(fmt.Sprintf("simulated disk at %.0f%%", 100*share), func(s *config.OffloadStrategy) { s.Budget.Share = share }).OpenFile =
			disk.SimSpec{IOPS: 1e6, BytesPerSecond: 1e10, Latency: 10 * time.Microsecond}.Opener()
	}
	for n := range 4 {
		add(fmt.Sprintf("%d threads", n+1), func(s *config.OffloadStrategy) { s.Threads = n + 1 })
	}
	for _, k := range kernel.All() {
		add("kernels "+k.Name, func(*config.OffloadStrategy) {}).Kernels = &k
	}
	return vs
}

// Law 1 for experts: whatever the placement, budget, policy, order of arrival, threads
// and instruction set, the same logits, tokens and experts, bit for bit. Golden models
// beside the repository have what the drawn one has not: shared experts with and
// without gates, layers without experts, groups, biases, sinks, clamped activations.
func TestExactWhereverExpertsAre(t *testing.T) {
	drawn := mixture(t)
	models := map[string]string{"drawn": drawn, "quantised": packAs(t, os.DirFS(drawn), drawn, convert.Options{MLP: convert.Q8_0})}
	for _, name := range []string{"qwen2-moe", "gpt-oss", "glm4-moe"} {
		models[name], _ = twin.Checkpoint("../..", name)
	}
	for name, path := range models {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(path); err != nil {
				t.Skipf("no golden checkpoint %s beside the repository", name)
			}
			if name != "drawn" && name != "quantised" && testing.Short() {
				t.Skip("a longer test: the drawn model has all ways")
			}
			tokens, more := 45, 8
			if testing.Short() {
				tokens, more = 20, 3
			}
			cache := t.TempDir()
			place := openMixture(t, path, cache, engine.Options{Strategy: strategy(config.Auto, 1)}).Placement()
			var want outcome
			var chosen [][]int32
			for i, v := range expertVariants(place) {
				var got [][]int32
				v.o.Wanted = func(layer int, ids []int32) {
					if len(ids) > 0 {
						got = append(got, append([]int32{int32(layer)}, ids...))
					}
				}
				e := openMixture(t, path, cache, v.o)
				out := outcomeOf(t, e, prompt(min(e.Profile().VocabSize, 300), tokens), more)
				if i == 0 {
					want, chosen = out, got
					if len(chosen) == 0 {
						t.Fatal("got no experts, want those of each token")
					}
				}
				if out.logits != want.logits || !slices.Equal(out.ids, want.ids) {
					t.Errorf("%s: got %x %v, want %x %v", v.name, out.logits, out.ids, want.logits, want.ids)
				}
				if !slices.EqualFunc(got, chosen, slices.Equal) {
					t.Errorf("%s: got other experts than with everything in memory", v.name)
				}
			}
		})
	}
}

// Experts whose inputs are rounded to 8 bits say nearly what they say without: what is
// rounded is each layer's own input.
func TestRoundedExperts(t *testing.T) {
	dir := mixture(t)
	path, cache := packAs(t, os.DirFS(dir), dir, convert.Options{MLP: convert.Q8_0}), t.TempDir()
	ids := prompt(300, 24)
	logits := func(a string) (last []float32) {
		o := engine.Options{Strategy: strategy(config.Auto, 3)}
		o.Strategy.Activations = a
		e := openMixture(t, path, cache, o)
		_, err := e.Run(t.Context(), engine.Request{IDs: ids, MaxTokens: 1, IgnoreEOS: true, Logits: func(_ int, l []float32) { last = slices.Clone(l) }})
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	exact, rounded := logits(config.F32Activations), logits("")
	if slices.Equal(exact, rounded) {
		t.Fatal("got the same bits with rounded activations, want others")
	}
	if d := apart(rounded, exact); d > 0.02 {
		t.Errorf("got logits %.3f of the largest apart, want 0.02 at most", d)
	}
}

// A token has the same experts, and so the same bits, whether the one before it was
// part of a prompt or generated, and whichever pieces the prompt is computed in.
func TestExpertsOfPromptAndDecoding(t *testing.T) {
	path, cache := mixture(t), t.TempDir()
	whole := openMixture(t, path, cache, engine.Options{Strategy: strategy(config.Auto, 3)})
	s := strategy(config.Auto, 3)
	s.Budget = config.Budget{Bytes: whole.Placement().Process.MinimumBytes}
	pieces := openMixture(t, path, cache, engine.Options{Strategy: s})
	if got := pieces.Placement().Chunk; got >= 60 || got >= whole.Placement().Chunk {
		t.Fatalf("got pieces of %d tokens in the smallest budget and of %d in the largest, want fewer", got, whole.Placement().Chunk)
	}
	for _, e := range []*engine.Engine{whole, pieces} {
		ids := prompt(300, 20)
		res, err := e.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 60, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		all := append(slices.Clone(ids), res.IDs...)
		want := outcomeOf(t, whole, all, 8)
		if got := outcomeOf(t, pieces, all, 8); got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
			t.Errorf("in pieces of %d: got %x, want %x", pieces.Placement().Chunk, got.logits, want.logits)
		}
		for n := len(ids); n < len(all); n += 7 {
			next, err := e.Run(context.Background(), engine.Request{IDs: all[:n], MaxTokens: 1, IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			if next.IDs[0] != all[n] {
				t.Errorf("token %d: got %d after a prompt, %d after decoding", n, next.IDs[0], all[n])
			}
		}
	}
}

// A step of a prompt reads each expert that it wants once at most, which is why large
// pieces of it read less.
func TestPromptReadsExpertsOnce(t *testing.T) {
	path, cache := mixture(t), t.TempDir()
	whole := openMixture(t, path, cache, engine.Options{Strategy: strategy(config.Auto, 0.4)})
	p, place := whole.Profile(), whole.Placement()
	ids := prompt(300, 400)
	res, err := whole.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 1, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	steps := (len(ids) + place.Chunk - 1) / place.Chunk
	if most := int64(steps * p.Layers * p.Experts()); res.Stats.Wanted > most || res.Stats.Misses > most {
		t.Errorf("got %d experts wanted and %d read by %d steps, want at most %d", res.Stats.Wanted, res.Stats.Misses, steps, most)
	}
	s := strategy(config.Auto, 0)
	s.Budget = config.Budget{Bytes: place.Process.MinimumBytes}
	few := openMixture(t, path, cache, engine.Options{Strategy: s})
	less, err := few.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 1, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if place.Chunk > few.Placement().Chunk && less.Stats.Misses <= res.Stats.Misses {
		t.Errorf("got %d reads in steps of %d tokens and %d in steps of %d, want fewer in larger ones",
			res.Stats.Misses, place.Chunk, less.Stats.Misses, few.Placement().Chunk)
	}
}

// Requests with experts that share steps get what each gets alone.
func TestExpertsWhateverTheBatch(t *testing.T) {
	s := strategy(config.Auto, 0.4)
	s.Context = 96
	e := openMixture(t, mixture(t), t.TempDir(), engine.Options{Strategy: s})
	want := make([]outcome, 8)
	for i := range want {
		want[i] = outcomeOf(t, e, prompt(300, 3+7*i), 12)
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			got := outcomeOf(t, e, prompt(300, 3+7*i), 12)
			if got.logits != want[i].logits || !slices.Equal(got.ids, want[i].ids) {
				t.Errorf("request %d: got %x %v, want %x %v", i, got.logits, got.ids, want[i].logits, want[i].ids)
			}
		})
	}
	wg.Wait()
}

// Routers forecast what the next layer reads, beside the computation alone, and where
// something may be missing.
func TestRoutersForecast(t *testing.T) {
	path, cache := mixture(t), t.TempDir()
	for _, c := range []struct {
		share float64
		async bool
		early bool
	}{{0.5, true, true}, {0.5, false, false}, {3, true, false}} {
		s := strategy(config.Auto, c.share)
		s.AsyncTransfer = c.async
		e := openMixture(t, path, cache, engine.Options{Strategy: s})
		var stats engine.Stats
		for range 2 { // the second finds slots filled
			stats = outcomeOf(t, e, prompt(300, 8), 40).stats
		}
		if got := stats.Decoding; got.Early > 0 != c.early || got.Wasted > got.Early || got.Wanted == 0 {
			t.Errorf("at %.0f%%, async %v: got %d read early of %d wanted, %d in vain; want some: %v", 100*c.share, c.async, got.Early, got.Wanted, got.Wasted, c.early)
		}
	}
}
