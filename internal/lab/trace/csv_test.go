package trace

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/table"
)

// cut is four layers of a routing trace of Qwen3-30B.
func cut(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/qwen.route.csv.gz")
	if err != nil {
		tb.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(z)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// hits is a policy's hits with so many slots a layer.
func hits(t *testing.T, j *Judgement, rows []Row, policy string, slots int) float64 {
	t.Helper()
	for _, r := range rows {
		if r.Policy == policy && int(math.Round(r.Cache*float64(j.Trace.FFN))) == slots {
			return 1 - r.MissRate
		}
	}
	t.Fatalf("got no row of %s with %d slots", policy, slots)
	return 0
}

// A routing trace is judged by slots of a layer and printed in 80 columns. The hits
// of LRU are those of a simulation of its own, within what the order of a token's
// experts makes.
func TestJudgeExperts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.csv")
	if err := os.WriteFile(path, cut(t), 0o666); err != nil {
		t.Fatal(err)
	}
	j, err := JudgeFile(path, nil, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Model: "Qwen3-30B-A3B-Q4_K_M.gguf", Text: "a routing trace", Layers: 4, FFN: 128, TopK: 6, Stride: 3059712}
	if j.Trace != want || j.Steps != 96 || j.ColdSteps != 32 || j.Equal != nil {
		t.Errorf("got %+v of %d and %d steps, want %+v of 96 and 32", j.Trace, j.Steps, j.ColdSteps, want)
	}
	for slots, want := range map[int]float64{8: 0.350, 16: 0.536, 32: 0.750, 48: 0.849} {
		lru, lfu, optimal := hits(t, j, j.Cold, "lru", slots), hits(t, j, j.Cold, "lfu", slots), hits(t, j, j.Cold, optimalRow, slots)
		if math.Abs(lru-want) > 0.02 || lru > optimal || lfu > optimal {
			t.Errorf("%d slots: got %.3f of lru, want %.3f; %.3f of lfu, and at most the optimum's %.3f", slots, lru, want, lfu, optimal)
		}
	}
	var w strings.Builder
	j.Print(&w, "q.csv")
	for line := range strings.Lines(w.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > table.Width {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
	for _, want := range []string{"4 layers of 128 experts, of which a token wants 6", "hits of caches that begin empty, after 32 tokens", "slots        8     16     32     48 "} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", w.String(), want)
		}
	}
}

// The traces of three models give the hits that were published of them, counted by
// another program.
func TestPublishedTraces(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, want := range map[string]map[string][4]float64{
		"qwen":   {"lru": {.42, .61, .83, .93}, "lfu": {.46, .66, .85, .94}, optimalRow: {.60, .78, .92, .96}},
		"gemma":  {"lru": {.41, .61, .79, .91}, "lfu": {.46, .66, .83, .92}, optimalRow: {.59, .77, .91, .96}},
		"gptoss": {"lru": {.60, .74, .85, .86}, "lfu": {.57, .74, .85, .86}, optimalRow: {.74, .86, .87, .86}},
	} {
		path := filepath.Join("../../../../shared/traces", name+".route.csv")
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not beside this checkout, in ../shared; TestJudgeExperts has a part of it", path)
		}
		j, err := JudgeFile(path, nil, func(int64, int64) {})
		if err != nil {
			t.Fatal(err)
		}
		for policy, at := range want {
			for i, slots := range []int{8, 16, 32, 48} {
				// The published optimum takes a token's experts one by one, and keeps each.
				most := 0.01
				if policy == optimalRow {
					most = 0.025
				}
				if got := hits(t, j, j.Cold, policy, slots); math.Abs(got-at[i]) > most {
					t.Errorf("%s, %s, %d slots: got %.3f, want %.2f", name, policy, slots, got, at[i])
				}
			}
		}
	}
}

const smallCSV = "# n_layer=3 n_expert=4\nphase,step,layer,expert\n0,0,1,3\n1,1,1,2\n1,1,1,0\n1,1,2,1\n\n1,2,2,3\n1,2,1,3\n"

// Prompts do not count, layers without experts want none, and an order of rows within
// a token means nothing.
func TestCSV(t *testing.T) {
	tr, err := Parse([]byte(smallCSV))
	if err != nil {
		t.Fatal(err)
	}
	want := &Trace{Info: Info{Text: "a routing trace", Layers: 3, FFN: 4, Having: 2, TopK: 2, Stride: 1}, Sets: make([]Sets, 3)}
	for _, step := range [][3][]int32{{nil, {0, 2}, {1}}, {nil, {3}, {3}}} {
		for l, ids := range step {
			want.Sets[l].Add(ids)
		}
	}
	if !same(tr, want) || tr.Wanted() != 5.0/16 {
		t.Errorf("got %+v, want %+v", tr, want)
	}
	path := filepath.Join(t.TempDir(), "a.trace")
	r, err := Create(path, want.Info)
	if err != nil {
		t.Fatal(err)
	}
	for step := range 2 {
		r.Want(1, []int32{1}) // was given up
		for l := 1; l < 3; l++ {
			r.Want(l, want.Sets[l].At(step))
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(path); err != nil || !same(got, want) {
		t.Errorf("recorded: got %+v, %v, want %+v", got, err, want)
	}
}

func TestHostileCSV(t *testing.T) {
	const head = "# n_layer=2 n_expert=4\nphase,step,layer,expert\n"
	for text, want := range map[string]string{
		"#":                                   "no row of phase 1",
		"# n_layer=x":                         `line 1: n_layer: got "x", want a number from 0 to 4096`,
		"# expert_bytes=-1":                   `got "-1"`,
		"#\nphase,step,layer,expert":          "line 2: got 0 layers of 0 experts in the comments before",
		"# n_layer=4000 n_expert=4000\nphase": "got 4000 layers of 4000 experts",
		"# n_layer=2 n_expert=4\nphase,step,layer":                     `got columns "phase,step,layer", want`,
		"# n_layer=1 n_expert=1\n0,phase,step,layer,,,expert\n,1,,0,,": `line 2: got column "" twice`,
		head:                               "no row of phase 1",
		head + "0,0,0,0\n":                 "no row of phase 1",
		head + "1,0,0":                     "line 3: got 3 cells, want 4",
		head + "1,0,2,0":                   `layer: got "2", want a number from 0 to 1`,
		head + "1,0,0,4":                   `expert: got "4", want a number from 0 to 3`,
		head + "1,0,0,-1":                  `expert: got "-1"`,
		head + "1,0,0,1\n1,0,0,1":          "step 0: got an expert twice in layer 0",
		head + "1,0,0,1\n1,1,0,1\n1,1,1,2": "step 1: got experts of 2 of 2 layers, want 1",
		"# n_layer=3 n_expert=4\nphase,step,layer,expert\n1,0,0,1": "got experts of 1 of 3 layers, want 2",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

// No bytes make the reader panic, and what it takes is a trace of no more experts than
// there are lines.
func FuzzCSV(f *testing.F) {
	f.Add([]byte(smallCSV))
	f.Add(slices.Clone(cut(f)[:2000]))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := Parse(append([]byte("#"), b...))
		if err != nil {
			return
		}
		n := 0
		for _, s := range tr.Sets {
			n += s.Wanted()
		}
		if err := tr.check(); err != nil || tr.Steps() == 0 || n > bytes.Count(b, []byte("\n"))+1 {
			t.Fatalf("got %d experts in %d steps, %v", n, tr.Steps(), err)
		}
	})
}
