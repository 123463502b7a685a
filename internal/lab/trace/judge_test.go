package trace

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/table"
)

// A trace is judged by its own beginning or by a profile of another text, and
// printed in 80 columns.
func TestJudge(t *testing.T) {
	m := Synthetic{Layers: 2, FFN: 300, Active: 0.05, Skew: 0.3, Computed: 1.3, Steps: 40, Seed: 1}
	tr := m.Trace()
	path := filepath.Join(t.TempDir(), "small.trace")
	if err := tr.Write(path); err != nil {
		t.Fatal(err)
	}
	progress := func(done, total int64) {
		if done < 0 || done > total {
			t.Errorf("progress: got %d of %d", done, total)
		}
	}
	j, err := JudgeFile(path, nil, progress)
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	j.Print(&w, path)
	text := w.String()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line) - 1; n > table.Width && !strings.Contains(line, path) {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
	for _, want := range []string{"small.trace: synthetic", "2 layers of 300 neurons", "judged on 30 steps", "lfu, equal layers  ", "optimal  ", "hot first  "} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
	seen, _ := tr.Profile(40)
	got, err := JudgeFile(path, seen, progress)
	if err != nil {
		t.Fatal(err)
	}
	perSize := len(cache.PolicyNames()) + 2
	if got.Schema != 1 || got.Steps != 40 || got.Trace.FFN != 300 || len(got.Rows) != perSize*len(judgedShares) || len(got.Equal) != len(judgedShares) {
		t.Errorf("got %d steps, %d and %d rows, want 40 and %d policies and bounds at each of %d sizes", got.Steps, len(got.Rows), len(got.Equal), perSize, len(judgedShares))
	}
	if err := tr.Part(0, 3).Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := JudgeFile(path, nil, progress); err == nil || !strings.Contains(err.Error(), "want at least 4") {
		t.Errorf("a trace of three steps: got %v", err)
	}
}
