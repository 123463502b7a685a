package sparseflow_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/convert"
)

// A model of which no neuron can be left out runs from its own files, without a
// copy, and says what its pack says, whatever streams.
func TestInPlace(t *testing.T) {
	src, err := filepath.Abs("testdata/opt/gelu")
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "gelu.sflow")
	if _, err := convert.Convert(t.Context(), os.DirFS(src), src, packed, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	logits := func(model string, share float64) []float32 {
		cache := t.TempDir()
		s := sparseflow.DefaultStrategy()
		s.Budget = sparseflow.Budget{Share: share}
		e, err := sparseflow.Open(t.Context(), model, sparseflow.WithStrategy(s), sparseflow.WithCacheDir(cache))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if files, err := os.ReadDir(cache); err != nil || len(files) > 0 {
			t.Errorf("%s: got %v in the cache directory, %v, want nothing", model, files, err)
		}
		if share < 0.3 && e.Placement().Streamed == 0 {
			t.Errorf("%s: got nothing that streams of %v", model, share)
		}
		r, err := e.Score(t.Context(), []int32{2, 5, 9, 11, 4, 7})
		if err != nil {
			t.Fatal(err)
		}
		return r.Logits
	}
	want := logits(packed, 1)
	for _, share := range []float64{1, 0.5, 0.1} {
		if got := logits(src, share); !slices.Equal(got, want) {
			t.Errorf("with %v of the weights: got %v, want %v", share, got, want)
		}
	}
}
