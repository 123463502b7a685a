package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/lab/bench"
)

// Of several runs the median is drawn, and the other engine's best; who did not run at
// a budget has no point there.
func TestCompared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const head = "round,budget_share,engine,tok_s,bound_tok_s,hit_rate,note\n"
	write("# a, \"b\n" + head + `1,100,sparseflow,5,6,1,
1,100,llama.cpp,4.5,,,
2,100,llama.cpp,4.8,,,
1,20,llama.cpp,,,,"killed, it was"
1,20,sparseflow,3,5,0.6,
2,20,sparseflow,1,4,0.5,
3,20,sparseflow,2,4.5,0.7,
1,10,sparseflow,,,,another output
`)
	rows, err := ReadCompared(path)
	if want := []Row{{Share: 0.1}, {0.2, 2, 4.5, 0.7, 0}, {1, 5, 6, 1, 4.8}}; err != nil || !slices.Equal(rows, want) {
		t.Fatalf("got %+v, %v, want %+v", rows, err, want)
	}
	list := labels(t, Compared("m.gguf", rows))
	for _, want := range []string{"m.gguf, by budget", "SparseFlow", "llama.cpp", "bound", "7.5"} {
		find(t, list, want)
	}
	if list = labels(t, Compared("m.gguf", nil)); has(list, "llama.cpp") {
		t.Error("got a curve of nothing")
	}
	list = labels(t, Sweep(&bench.Results{Model: "m", Limits: bench.Limits{Experts: true}, Sweep: []bench.Row{{BudgetShare: 0.3, TokS: 2, BoundTokS: 3, HitRate: 0.8}}}))
	find(t, list, "bound")
	if has(list, "llama.cpp") {
		t.Error("a sweep: got a curve of llama.cpp, which was not measured")
	}
	for text, want := range map[string]string{
		"":                             "no line of columns",
		"a,b\n":                        `no column "budget_share"`,
		head + "1,x,sparseflow,1,1,1,": "line 2",
		head + "1,120,llama.cpp,1,,,":  "line 2",
		head + "1,50,llama.cpp,NaN,,,": "line 2",
		head + "1,50,llama.cpp,1\n":    "wrong number of fields",
	} {
		write(text)
		if _, err := ReadCompared(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got %v, want %q of %s", text, err, want, path)
		}
	}
	if _, err := ReadCompared(path + "x"); err == nil {
		t.Error("no file: got no error")
	}
}
