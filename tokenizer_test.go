package sparseflow_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// TestLoadTokenizer wants tokenizer files to be enough.
func TestLoadTokenizer(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vocab.json", "merges.txt"} {
		b, err := fs.ReadFile(tiny.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, model := range []string{"tiny", dir} {
		tok, err := sparseflow.LoadTokenizer(model)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tok.Encode("Once upon a time", tok.AddsBOS()), []int32{2, 83, 1703, 553, 262, 583}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", model, got, want)
		}
	}
	if _, err := sparseflow.LoadTokenizer(t.TempDir()); !errors.Is(err, sparseflow.ErrNoTokenizer) {
		t.Errorf("empty directory: got %v, want ErrNoTokenizer", err)
	}
	if _, err := sparseflow.LoadTokenizer(filepath.Join(dir, "nosuch")); err == nil || errors.Is(err, sparseflow.ErrNoTokenizer) {
		t.Errorf("no directory: got %v, want another error", err)
	}
}
