package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

// replayed replays the trace at path and returns what is printed.
func replayed(t *testing.T, path string, seen *cache.Counts, asJSON bool) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{stdin: newInterruptible(t.Context(), strings.NewReader("")), stdout: &output{to: &out}, stderr: &bytes.Buffer{}}
	err := a.replayTrace(path, seen, asJSON)
	return out.String(), err
}

func TestReplayTrace(t *testing.T) {
	m := trace.Synthetic{Layers: 2, FFN: 300, Active: 0.05, Skew: 0.3, Computed: 1.3, Steps: 40, Seed: 1}
	tr := m.Trace()
	path := filepath.Join(t.TempDir(), "small.trace")
	if err := tr.Write(path); err != nil {
		t.Fatal(err)
	}
	text, err := replayed(t, path, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"small.trace: synthetic", "2 layers of 300 neurons", "profile: the first 10 steps, judged on 30 steps", "lfu equal layers  ", "optimal  ", "hot first  "} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
	seen, _ := tr.Profile(40)
	text, err = replayed(t, path, seen, true)
	if err != nil {
		t.Fatal(err)
	}
	var got replayJSON
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	perSize := len(cache.PolicyNames()) + 2
	if got.Schema != 1 || got.Steps != 40 || got.Trace.FFN != 300 || len(got.Rows) != perSize*len(replayShares) || len(got.Cold) != len(got.Rows) || len(got.Equal) != 3*len(replayShares) {
		t.Errorf("got %d steps, %d, %d and %d rows, want 40 and %d policies and bounds at each of %d sizes", got.Steps, len(got.Rows), len(got.Cold), len(got.Equal), perSize, len(replayShares))
	}
	if err := tr.Part(0, 3).Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := replayed(t, path, nil, false); err == nil || !strings.Contains(err.Error(), "want at least 4") {
		t.Errorf("a trace of three steps: got %v", err)
	}
}
