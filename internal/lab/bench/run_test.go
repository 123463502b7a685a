package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// tinyOptions is how tiny is measured in tests: few tokens, once.
func tinyOptions(t *testing.T, how string) Options {
	t.Helper()
	cache := t.TempDir()
	src, err := hub.Find(hub.Tiny)
	if err != nil {
		t.Fatal(err)
	}
	p, err := convert.Open(context.Background(), src, cache, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := config.DefaultStrategy()
	s.Budget.Share, s.Context, s.Threads = 0.58, 256, 1
	o := Options{
		Setup: Setup{
			Model: hub.Tiny, Pack: p.Path(), CacheDir: cache, Strategy: s,
			Tests: []Test{{false, 4}}, Reps: 1, Warm: WarmTokens,
		},
		Profile: p.Profile(), Command: behaving(how), Progress: func(string) {},
	}
	text, err := ForcedText(o.Profile, nil, o.TextTokens())
	if err != nil {
		t.Fatal(err)
	}
	o.IDs = text.IDs
	return o
}

// The modes measure the same model, and each says what it is about.
func TestRun(t *testing.T) {
	o := tinyOptions(t, "works")
	var doing []string
	o.Progress = func(what string) { doing = append(doing, what) }
	modes := []Mode{Dense, Sparse, Naive, AblateCache}
	if testing.Short() {
		modes = modes[:3]
	}
	rep, err := Run(t.Context(), o, modes)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rows) != len(modes) || !slices.Contains(doing, "sparse: tg4, 1 of 1") {
		t.Fatalf("got %+v, doing %q", rep, doing)
	}
	dense, sparse, naive := rep.Rows[0], rep.Rows[1], rep.Rows[2]
	if dense.SlowBytes != 0 || dense.Quality != nil || dense.ShareOfLimit <= 0 {
		t.Errorf("dense: got %+v", dense)
	}
	if sparse.SlowBytes == 0 || sparse.Misses == 0 || sparse.Quality == nil || sparse.FastBytes >= dense.FastBytes {
		t.Errorf("sparse: got %+v", sparse)
	}
	if q := sparse.Quality; q != nil && (q.RecallWeighted < 0.9 || q.WorstRecall > q.RecallWeighted || q.Greedy != greedyTokens) {
		t.Errorf("sparse: got quality %+v", *q)
	}
	if dense.OfDense != 1 || sparse.OfDense != sparse.TokS/dense.TokS {
		t.Errorf("of dense: got %v of itself and %v, want 1 and %v", dense.OfDense, sparse.OfDense, sparse.TokS/dense.TokS)
	}
	for _, r := range rep.Rows {
		if r.FirstTokenS <= 0 || r.FirstTokenBytes <= 0 || r.FirstTokenBytes > 2*dense.FirstTokenBytes {
			t.Errorf("%s: got the first token after %v s and %d bytes", r.Mode, r.FirstTokenS, r.FirstTokenBytes)
		}
	}
	if naive.FastBytes != dense.FastBytes || naive.HitRate > 0.6 || naive.Quality != nil {
		t.Errorf("naive: got %+v", naive)
	}
	if rep.Proof == nil || len(rep.Proof.Greedy) != greedyTokens || len(rep.Proof.LogitsSHA256) != 64 {
		t.Errorf("proof: got %+v", rep.Proof)
	}
}

// A mode with another output than the first one's is not timed.
func TestRunChecksOutput(t *testing.T) {
	o := tinyOptions(t, "works")
	o.Expect = &Proof{LogitsSHA256: strings.Repeat("0", 64)}
	_, err := Run(t.Context(), o, []Mode{Dense})
	if err == nil || !strings.Contains(err.Error(), "mode dense: exact logits of 32 tokens: got SHA-256") {
		t.Errorf("other logits: got %v", err)
	}
	if testing.Short() {
		return // the rest takes seconds
	}
	o.Expect = nil
	rep, err := Run(t.Context(), o, []Mode{Dense})
	if err != nil {
		t.Fatal(err)
	}
	o.Expect = &Proof{LogitsSHA256: rep.Proof.LogitsSHA256, Greedy: append([]int32{3}, rep.Proof.Greedy[1:]...)}
	_, err = Run(t.Context(), o, []Mode{Naive})
	if err == nil || !strings.Contains(err.Error(), "mode naive: greedy tokens") {
		t.Errorf("other tokens: got %v", err)
	}
	if rep, err = Run(t.Context(), o, []Mode{Sparse}); err != nil || rep.Rows[0].Quality.GreedySame != 0 {
		t.Errorf("other tokens, sparse: got %+v, %v, want none the same and no error", rep, err)
	}
	o.Expect = nil
	if rep, err = Run(t.Context(), o, []Mode{Sparse, Resident}); err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Rows {
		if r.Quality.Greedy != 0 {
			t.Errorf("mode %s, no exact mode before: got %d greedy tokens compared, want none", r.Mode, r.Quality.Greedy)
		}
	}
}

// Whatever becomes of a mode's process, it is waited for and told of.
func TestRunProcessFails(t *testing.T) {
	for how, want := range map[string]string{
		"dies":    "mode dense: got a process that ended without a result (exit status 7: out of luck)",
		"babbles": "mode dense: got a process that ended without a result",
		"waits":   "mode dense: took longer than 300ms",
		"hangs":   "mode dense: took longer than 300ms",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := tinyOptions(t, how)
			if how == "waits" || how == "hangs" {
				o.Timeout = 300 * time.Millisecond
			}
			begin := time.Now()
			_, err := Run(t.Context(), o, []Mode{Dense})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if took := time.Since(begin); took > patience+10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// The end of the run's context ends its process.
func TestRunCancelled(t *testing.T) {
	o := tinyOptions(t, "works")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	o.Progress = func(string) { cancel(stop) }
	if _, err := Run(ctx, o, []Mode{Dense}); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause of the context's end", err)
	}
}

// What does not fit in memory is skipped, and said so.
func TestRunSkips(t *testing.T) {
	o := tinyOptions(t, "dies")
	o.Free = 1 << 20
	rep, err := Run(t.Context(), o, []Mode{Resident})
	if err != nil || len(rep.Skipped) != 1 || !strings.Contains(rep.Skipped[0].Why, "1.05 MB are free") {
		t.Errorf("got %+v, %v", rep, err)
	}
}

// A job whose writer is gone ends.
func TestChildAbandoned(t *testing.T) {
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := Child(t.Context(), in, os.Stderr); err == nil || !strings.Contains(err.Error(), "read job") {
		t.Errorf("without a job: got %v", err)
	}
	ids := strings.TrimSuffix(strings.Repeat("5,", (&Setup{Reps: 1}).TextTokens()), ",")
	for _, bad := range []string{`{"Reps":0}`, `{"Reps":1,"IDs":[5]}`, `{"Reps":1,"IDs":[` + ids + `],"Strategy":{"Context":3}}`, `{"Tests":["tg0"]}`, `{"Reps":1e9}`} {
		if err := Child(t.Context(), strings.NewReader(bad), os.Stderr); err == nil {
			t.Errorf("%.40s: got no error", bad)
		}
	}
	job := strings.NewReader(`{"Mode":"dense","Reps":1,"IDs":[` + ids + `],"Strategy":{"Context":64}}`)
	var out strings.Builder
	err = serve(t.Context(), job, &out, func(_ *child, ctx context.Context) (*engine.Engine, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if !errors.Is(err, errAbandoned) {
		t.Errorf("got %v, want %v", err, errAbandoned)
	}
}

// Limits are measured on the file that is read, and there are all of them.
func TestMeasure(t *testing.T) {
	o := tinyOptions(t, "")
	p, err := pack.Open(o.Pack)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := measure(t.Context(), p, nil, 2, 16<<20, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if l.Threads != 2 || l.ReadBytes != p.BundleStride() || min(l.MemoryGBs, l.RowsGBs, l.NeuronsGBs, l.CompleteGBs, l.RandomGBs, l.RandomWarmGBs, l.SequentialGBs, l.RandomIOPS) <= 0 {
		t.Errorf("got %+v", l)
	}
	sim, err := disk.ParseSim("57kiops,0.95GB/s,100us")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = measure(t.Context(), p, &sim, 1, 16<<20, 50*time.Millisecond); err != nil || l.SequentialGBs != 0.95 || math.Round(l.RandomIOPS) != 57e3 || math.Round(1e6*l.RandomGBs) != math.Round(57*float64(l.ReadBytes)) || l.Simulated == "" {
		t.Errorf("simulated: got %+v, %v", l, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, p, nil, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
