package convert

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/convert/randopt"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// BenchmarkConvert packs a model of 320 MB; MB/s count the pack's bytes. The
// hash is given, as Cached gives it.
func BenchmarkConvert(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "m")
	profile := randopt.Profile(8192, 2048, 3, 32, 8192, 512)
	if err := randopt.Write(dir, randopt.Options{Profile: profile, DType: tensor.F16, Seed: 1}); err != nil {
		b.Fatal(err)
	}
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
