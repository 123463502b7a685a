package convert

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// BenchmarkConvert packs a model of 320 MB; MB/s count the pack's bytes. The
// hash is given, as Cached gives it.
func BenchmarkConvert(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "m")
	randomOPT{vocab: 8192, d: 2048, layers: 3, heads: 32, ffn: 8192, positions: 512, dtype: tensor.F16}.write(b, dir)
	hash, err := SourceHash(b.Context(), os.DirFS(dir), dir)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Convert(b.Context(), os.DirFS(dir), dir, filepath.Join(dir, "m.sflow"), Options{SourceSHA256: hash})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(r.Bytes)
	}
}
