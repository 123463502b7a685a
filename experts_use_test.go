package sparseflow_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/lab/tinymoe"
)

// How experts were used is kept for the next start, which then misses fewer and says
// the same. That what was kept is damaged, or cannot be, is told and harms nobody.
func TestUseOfExpertsIsKept(t *testing.T) {
	model, cache := t.TempDir(), t.TempDir()
	if err := tinymoe.Write(model, tinymoe.Least()); err != nil {
		t.Fatal(err)
	}
	s := sparseflow.DefaultStrategy()
	s.Budget.Share, s.AsyncTransfer = 0.5, false
	generate := func(cache string) (r *sparseflow.Result, notices string) {
		t.Helper()
		e, err := sparseflow.Open(t.Context(), model, sparseflow.WithStrategy(s), sparseflow.WithCacheDir(cache),
			sparseflow.WithNotices(func(n string) { notices += n + "\n" }))
		if err != nil {
			t.Fatal(err)
		}
		if r, err = e.Generate(t.Context(), sparseflow.Request{IDs: []int32{5, 6, 7}, MaxTokens: 60, IgnoreEOS: true}); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return r, notices
	}
	from := func(cache string) string {
		t.Helper()
		p, err := sparseflow.Plan(model, sparseflow.WithStrategy(s), sparseflow.WithCacheDir(cache))
		if err != nil {
			t.Fatal(err)
		}
		return p.ActiveFrom
	}
	if got := from(cache); got != "assumed" {
		t.Errorf("before the first run: got use that is %s, want assumed", got)
	}
	first, _ := generate(cache)
	if got := from(cache); got != "measured" {
		t.Errorf("after it: got use that is %s, want measured", got)
	}
	again, _ := generate(cache)
	if !slices.Equal(first.IDs, again.IDs) || again.Stats.Misses >= first.Stats.Misses {
		t.Errorf("again: got %v with %d misses, want %v with fewer than %d", again.IDs, again.Stats.Misses, first.IDs, first.Stats.Misses)
	}

	sides, err := filepath.Glob(filepath.Join(cache, "*.side"))
	if err != nil || len(sides) != 1 {
		t.Fatalf("got %v, %v, want one sidecar", sides, err)
	}
	if err := os.WriteFile(sides[0], []byte("no sidecar"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a damaged sidecar": cache, "a cache directory that is a file": sides[0]} {
		got, notices := generate(dir)
		if !slices.Equal(got.IDs, first.IDs) || name == "a damaged sidecar" && !strings.Contains(notices, "ignored: ") {
			t.Errorf("%s: got %v and notices %q, want %v and a notice of what is damaged", name, got.IDs, notices, first.IDs)
		}
	}
}
