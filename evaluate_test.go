package sparseflow

import (
	"os"
	"testing"
)

// The calibration that comes with tiny holds its quality on text of its own kind
// at no more than the active neurons, and nearly on text of another kind, where
// a layer fires that was silent when it was calibrated.
func TestTinyHoldsItsQuality(t *testing.T) {
	s := DefaultStrategy()
	s.Mode = Predicted
	eng, err := Open(t.Context(), "tiny", WithStrategy(s), WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	for _, x := range []struct {
		file   string
		tokens int
		rise   float64
		mostOf float64 // of the active neurons
	}{
		{"books.valid.a.txt", 4088, 0.005, 1},
		{"books.valid.b.txt", 4088, 0.005, 1},
		{"encyclopedia.txt", 433, 0.015, 1},
	} {
		if testing.Short() && x.tokens > 1000 {
			continue
		}
		text, err := os.ReadFile("testdata/text/" + x.file)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := eng.TokenizePlain(string(text))
		if err != nil {
			t.Fatal(err)
		}
		r, err := eng.Evaluate(t.Context(), ids[:x.tokens], EvaluateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		of := r.All.ComputedShare() / r.All.ActiveShare()
		t.Logf("%s: perplexity %+.3f %%, %.3f of the active neurons", x.file, 100*r.Change(), of)
		if r.Change() > x.rise || of > x.mostOf {
			t.Errorf("%s: got perplexity %+.3f %%, %.3f of the active neurons computed, want at most %+.3f %% and %v", x.file, 100*r.Change(), of, 100*x.rise, x.mostOf)
		}
		for l, a := range r.Layers {
			if e := a.OutputError(); e > 0.1 {
				t.Errorf("%s: layer %d: got an output error of %.3f, want at most 0.1", x.file, l, e)
			}
		}
	}
}
