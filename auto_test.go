package sparseflow

import (
	"os"
	"path/filepath"
	"testing"
)

// The default mode of a calibrated model is predicted at any budget, gives the
// same text at each and again at the next opening, and leaves nothing behind but
// the pack.
func TestAutoIsTheSameAnywhere(t *testing.T) {
	cache := t.TempDir()
	want := ""
	for _, budget := range []string{"100%", "58%", "8%", "60MB", "100%"} {
		b, err := ParseBudget(budget)
		if err != nil {
			t.Fatal(err)
		}
		s := DefaultStrategy()
		s.Budget, s.Context = b, 128
		place, err := Plan("tiny", WithStrategy(s), WithCacheDir(cache))
		if err != nil {
			t.Fatal(err)
		}
		eng, err := Open(t.Context(), "tiny", WithStrategy(s), WithCacheDir(cache))
		if err != nil {
			t.Fatal(err)
		}
		res, err := eng.Generate(t.Context(), Request{Prompt: "Once upon a time", MaxTokens: 40, Sampling: Sampling{Temperature: 1, Seed: 5}})
		if err != nil {
			t.Fatal(err)
		}
		if c := eng.Choice(); c == nil || c.Modes != "pppppp" || place.Chosen != "predicted" || res.Stats.Mode != Predicted {
			t.Errorf("at %s: got choice %+v, planned as %q, mode %s, want predicted", budget, c, place.Chosen, res.Stats.Mode)
		}
		if want == "" {
			want = res.Text
		}
		if res.Text != want {
			t.Errorf("at %s: got %q, want %q", budget, res.Text, want)
		}
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	}
	files, err := os.ReadDir(cache)
	if err != nil || len(files) != 1 || filepath.Ext(files[0].Name()) != ".sflow" {
		t.Errorf("got %v in the cache directory (%v), want the pack alone", files, err)
	}
}
