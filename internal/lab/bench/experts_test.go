package bench

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/tinymoe"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

// A mixture of experts is measured where it lies: both modes have the same output and
// cost nothing of it, and what is missed under the budget stands beside the bound.
func TestRunExperts(t *testing.T) {
	dir := t.TempDir()
	if err := tinymoe.Write(dir, tinymoe.Least()); err != nil {
		t.Fatal(err)
	}
	src, err := hub.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := convert.Layout(src)
	if err != nil {
		t.Fatal(err)
	}
	s := config.DefaultStrategy()
	s.Budget.Share, s.Context, s.Threads = 0.6, 128, 1
	b := Benchmark{
		Options: Options{
			Setup: Setup{
				Model: dir, CacheDir: t.TempDir(), Strategy: s, Trace: filepath.Join(t.TempDir(), "a.trace"),
				Tests: []Test{{false, 4}, {true, 8}}, Reps: 1, AllReps: true, Warm: 2,
			},
			Profile: l.Profile(), Command: behaving("works"), Progress: func(string) {},
		},
		Modes: []Mode{Resident, Sparse},
	}
	if err := b.Prepare(t.Context(), convert.Options{}); err != nil {
		t.Fatal(err)
	}
	r, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 4 || r.Proof == nil || len(r.Proof.Likeliest) != checkTokens || len(r.Proof.Greedy) != greedyTokens {
		t.Fatalf("got %+v", r)
	}
	shape := tinymoe.Least()
	wanted := float64(shape.Layers * shape.TopK)
	for _, row := range r.Rows {
		switch {
		case row.Quality != nil:
			t.Errorf("%s: got %+v, want no cost of what the router chose", row.Mode, row.Quality)
		case row.BoundMemoryGBs <= 0 || row.BoundDiskGBs <= 0 || row.WantedBytes == 0 || row.FastBytes < row.WantedBytes:
			t.Errorf("%s %v: got %+v", row.Mode, row.Test, row)
		case row.Test.Prompt:
		case row.Units != wanted || row.ShareOfBound <= 0 || row.BoundTokS <= 0:
			t.Errorf("%s: got %v experts a token, %v of a bound of %v tokens/s, want %v", row.Mode, row.Units, row.ShareOfBound, row.BoundTokS, wanted)
		case row.Mode == Sparse && (row.Misses == 0 || row.MissedBytes == 0 || row.MissedBytes > row.WantedBytes):
			t.Errorf("got %v misses of %d bytes, want some", row.Misses, row.MissedBytes)
		}
	}
	tr, err := trace.Load(b.Trace)
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(shape.TopK) / float64(shape.Experts); tr.Steps() != 8 || tr.TopK != shape.TopK || tr.FFN != shape.Experts || tr.Wanted() != want {
		t.Errorf("got a trace of %d steps, %+v, %v wanted, want 8 of %+v", tr.Steps(), tr.Info, tr.Wanted(), shape)
	}
	var out bytes.Buffer
	r.Print(&out, false)
	for _, want := range []string{" of experts", "of bound", "units", "stall"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in\n%s", want, out.String())
		}
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len(line) > 80 && !strings.Contains(line, dir) {
			t.Errorf("got a line of %d columns, want 80 at most: %s", len(line), line)
		}
	}
}
