package twin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/source"
)

// Every recipe makes the file that it was made of, which Write holds by its SHA-256.
func TestWrite(t *testing.T) {
	const recipes = "../../../testdata/twins"
	paths, err := filepath.Glob(recipes + "/*.json.gz")
	if err != nil || len(paths) != 7 {
		t.Fatalf("got recipes %q (%v), want 7", paths, err)
	}
	for _, recipe := range paths {
		name := strings.TrimSuffix(filepath.Base(recipe), ".json.gz")
		t.Run(name, func(t *testing.T) {
			dir, ok := Checkpoint("../../..", name)
			if !ok {
				t.Skipf("no golden checkpoint %s beside the repository", name)
			}
			c, err := source.Open(os.DirFS(dir), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := Write(recipe, c, filepath.Join(t.TempDir(), "twin.gguf")); err != nil {
				t.Error(err)
			}
		})
	}
}
