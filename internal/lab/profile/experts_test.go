package profile_test

import (
	"compress/gzip"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/lab/tinymoe"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/table"
)

// near compares the means of a report with entropy, hottest 8, half, distinct and the
// overlaps, as another program counted them.
func near(t *testing.T, r *profile.ExpertReport, within float64, want ...float64) {
	t.Helper()
	got := append([]float64{r.Mean.Entropy, r.Mean.Hottest, r.Mean.Half, r.Mean.Distinct}, r.Mean.Overlap...)
	for i, w := range want {
		if math.Abs(got[i]-w) > within*w {
			t.Errorf("%s: got %.4f, want %.4f", r.Model, got, want)
			return
		}
	}
}

// Four layers of a trace, by the figures of another program.
func TestExpertsOfTrace(t *testing.T) {
	f, err := os.Open("../trace/testdata/qwen.route.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := trace.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := profile.AnalyseExperts(tr)
	if err != nil {
		t.Fatal(err)
	}
	near(t, r, 1e-3, .7719, .4056, 14, 72.25, .3241, .2560, .2399, .2358, .2671, .2027)
	if l := r.Layers[0]; math.Abs(l.Entropy-.9088) > 1e-4 || l.Half != 27 || l.Distinct != 107 {
		t.Errorf("got %+v of the first layer, want an entropy of .9088, 27 experts with half of use and 107 with any", l)
	}
	var w strings.Builder
	r.Print(&w, "q: 128 tokens")
	for line := range strings.Lines(w.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > table.Width {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
	for _, want := range []string{"4 layers with experts, up to 6 of 128", " mean    0.772    .41    14   72  .32  .26", "after 32 tokens"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", w.String(), want)
		}
	}
	neurons := &trace.Trace{Info: trace.Info{Layers: 1, FFN: 4, Stride: 1}, Sets: make([]trace.Sets, 1)}
	if _, err := profile.AnalyseExperts(neurons); err == nil || !strings.Contains(err.Error(), "want one of experts") {
		t.Errorf("a trace of neurons: got %v", err)
	}
	neurons.TopK = 1
	if _, err := profile.AnalyseExperts(neurons); err == nil || !strings.Contains(err.Error(), "got a trace of 0 tokens") {
		t.Errorf("an empty trace: got %v", err)
	}
}

// Three models' figures, as they were published.
func TestExpertsPublished(t *testing.T) {
	for name, want := range map[string][]float64{
		"qwen":   {.7428, .4453, 11.1458, 63.7292, .3795, .2893, .2769, .2668, .2828, .2364},
		"gemma":  {.7448, .4648, 10.1667, 66.9333, .3571, .2929, .2840, .2610, .2372, .2188},
		"gptoss": {.6397, .5955, 6.5833, 35.8889, .1788, .2099, .1340, .1310, .1036, .1181},
	} {
		path := filepath.Join("../../../../shared/traces", name+".route.csv")
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not beside this checkout, in ../shared; TestExpertsOfTrace has a part of it", path)
		}
		tr, err := trace.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := profile.AnalyseExperts(tr)
		if err != nil {
			t.Fatal(err)
		}
		near(t, r, 1e-3, want...)
	}
}

// A model's experts are told of every token of the text, in windows of the context,
// the same whatever fits into memory.
func TestExpertsOfModel(t *testing.T) {
	dir := t.TempDir()
	if err := tinymoe.Write(dir, tinymoe.Least()); err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for i := range int32(40) {
		ids = append(ids, 3+i*i%300)
	}
	var want *profile.ExpertReport
	for _, share := range []float64{1, 0.6} {
		s := config.DefaultStrategy()
		s.Budget.Share, s.Context = share, 18
		run, err := profile.Prepare(profile.Settings{Model: dir, CacheDir: t.TempDir(), Strategy: s, IDs: ids, Text: profile.Text{Name: "ids"}})
		if err != nil {
			t.Fatal(err)
		}
		if !run.Mixture() {
			t.Fatal("got a model of neurons, want one of experts")
		}
		told := int64(0)
		got, err := run.Experts(t.Context(), convert.Options{Notify: func(string) {}, Progress: func(what string, done, total int64) {
			if what == "profiling" {
				told = max(told, done)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		shape := tinymoe.Least()
		if got.Tokens != len(ids) || got.TopK != shape.TopK || got.Experts != shape.Experts || len(got.Layers) != shape.Layers || got.Before != 20 || told != 160 {
			t.Errorf("got %d tokens, %d of %d experts in %d layers, %d tokens before, %d bytes told of; want %d, %+v, 20 and 160", got.Tokens, got.TopK, got.Experts, len(got.Layers), got.Before, told, len(ids), shape)
		}
		if want == nil {
			want = got
		}
		for l := range want.Layers {
			g, w := got.Layers[l], want.Layers[l]
			if g.Entropy != w.Entropy || g.Entropy <= 0 || g.Entropy > 1 || !slices.Equal(g.Overlap, w.Overlap) || !slices.Equal(g.LRU, w.LRU) {
				t.Errorf("%v of the model in memory: layer %d: got %+v, want %+v", share, l, g, w)
			}
		}
	}
}
