package profile_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/token"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// openTiny opens the embedded model for profiling.
func openTiny(t *testing.T, mode config.Mode, share float64) *profile.Profiler {
	t.Helper()
	s := config.DefaultStrategy()
	s.Mode, s.Budget.Share = mode, share
	pr, err := profile.Open(t.Context(), packTiny(t), engine.Options{Strategy: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pr.Close(); err != nil {
			t.Error(err)
		}
	})
	return pr
}

func packTiny(t *testing.T) *pack.Pack {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.sflow")
	if _, err := convert.Convert(t.Context(), tiny.Files, "tiny", path, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// keptBytes is the memory that the sets of n tokens of the embedded model take.
func keptBytes(t *testing.T, n int) int64 {
	t.Helper()
	p := packTiny(t)
	defer p.Close()
	return profile.KeptBytes(p.Profile(), n)
}

func record(t *testing.T, pr *profile.Profiler, ids []int32, keep int64) *profile.Recording {
	t.Helper()
	rec, err := pr.Record(t.Context(), profile.Input{IDs: ids, Window: 511, KeepBytes: keep})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// tokens are the first n tokens of a text in the module's testdata.
func tokens(t *testing.T, name string, n int) []int32 {
	t.Helper()
	tok, err := token.Load(tiny.Files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../testdata/text/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Encode(string(text[:min(len(text), 12*n)]), false)[:n]
}

// The reference implementation's active shares on a text of 32 windows.
func TestGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	raw, err := os.ReadFile("../../../testdata/tiny/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Perplexity map[string]struct {
			Tokens int
			Active []float64 `json:"active_share_per_layer"`
		}
	}
	if err := json.Unmarshal(raw, &golden); err != nil || len(golden.Perplexity) != 2 {
		t.Fatalf("got %d texts (%v), want 2", len(golden.Perplexity), err)
	}
	const name = "books.valid.a.txt"
	want := golden.Perplexity[name]
	rec := record(t, openTiny(t, config.Gate, 3), tokens(t, name, want.Tokens), 0)
	counts := rec.Counts()
	for l, w := range want.Active {
		sum := 0.0
		for _, n := range counts.Neurons[l] {
			sum += float64(n)
		}
		got := sum / float64(counts.Tokens) / float64(rec.FFN)
		if math.Abs(got-w) > 1e-3*w {
			t.Errorf("layer %d: got %v active, want %v", l, got, w)
		}
	}
}

// What is recorded does not depend on the mode or on what is in fast memory,
// and the sets that are kept are those that are counted.
func TestRecordEverywhere(t *testing.T) {
	ids := tokens(t, "books.valid.b.txt", 700)
	var want *profile.Report
	for _, c := range []struct {
		mode  config.Mode
		share float64
	}{{config.Dense, 3}, {config.Gate, 0.3}} {
		got := profile.Analyse(record(t, openTiny(t, c.mode, c.share), ids, 64<<20), nil)
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(profile.Report{})); diff != "" {
			t.Errorf("%s: %s", c.mode, diff)
		}
		if diff := cmp.Diff(want.Counts(), got.Counts()); diff != "" {
			t.Errorf("%s: %s", c.mode, diff)
		}
	}
	if want.ReplayedTokens != 700 || *want.Mean.CosLookahead < 0.5 || *want.Mean.CosLookahead > 1 {
		t.Errorf("got %d tokens, cosine %v, want 700 and one between 0.5 and 1", want.ReplayedTokens, *want.Mean.CosLookahead)
	}
	if want.Layers[0].CosPrevious != nil || want.Layers[1].CosPrevious == nil {
		t.Errorf("got a layer before the first, or none before the second")
	}
}

// Without memory for sets the counts remain, and a little memory keeps the
// first tokens.
func TestKeepBytes(t *testing.T) {
	pr := openTiny(t, config.Gate, 3)
	ids := tokens(t, "books.valid.b.txt", 511)
	none := profile.Analyse(record(t, pr, ids, 0), nil)
	if none.ReplayedTokens != 0 || none.Mean.Misses != nil || none.Mean.Union5 != nil || none.Mean.Hot80 == nil {
		t.Errorf("got %+v, want no figures from sets and those from counts", none.Mean)
	}
	some := profile.Analyse(record(t, pr, ids, keptBytes(t, 100)+1), nil)
	if some.ReplayedTokens != 100 || some.Mean.Misses == nil {
		t.Errorf("got %d tokens replayed, want 100", some.ReplayedTokens)
	}
}

func TestRefusals(t *testing.T) {
	pr := openTiny(t, config.Gate, 3)
	if _, err := pr.Record(t.Context(), profile.Input{IDs: make([]int32, 510), Window: 511}); err == nil || !strings.Contains(err.Error(), "got 510 tokens, want at least one window of 511") {
		t.Errorf("a short text: got %v", err)
	}
	if err := profile.Check(config.ModelProfile{Activation: config.GELU}); err == nil || !strings.Contains(err.Error(), "gelu, want relu") {
		t.Errorf("a model without exact zeros: got %v", err)
	}
	p := packTiny(t)
	s := config.DefaultStrategy()
	s.Mode = config.Predicted
	if _, err := profile.Open(t.Context(), p, engine.Options{Strategy: s}); err == nil || !strings.Contains(err.Error(), "got predicted, want dense or gate") {
		t.Errorf("a mode that leaves neurons out: got %v", err)
	}
}

// How much of a text is run: a small model's 16,384 tokens, a large one's few.
func TestDefaultTokens(t *testing.T) {
	for _, c := range []struct{ layers, d, want int }{{6, 256, 16384}, {12, 768, 16384}, {24, 2048, 3640}, {32, 4096, 682}, {64, 9216, 512}} {
		p := config.ModelProfile{Layers: c.layers, HiddenSize: c.d, FFN: 4 * c.d, Heads: c.d / 64, KVHeads: c.d / 64, NeuronParts: 2}
		if got := profile.DefaultTokens(p); got != c.want {
			t.Errorf("%d layers of %d: got %d tokens, want %d", c.layers, c.d, got, c.want)
		}
	}
	for _, c := range []struct {
		bos                   int32
		context, tokens, want int
	}{{2, 512, 16384, 511}, {-1, 512, 16384, 512}, {2, 512, 100, 100}} {
		if got := profile.Window(config.ModelProfile{BOS: c.bos}, c.context, c.tokens); got != c.want {
			t.Errorf("%+v: got a window of %d", c, got)
		}
	}
}
