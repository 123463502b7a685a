package synth

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// smallDense is a dense shape of an architecture whose rows blocks of 256 do not fill.
func smallDense(arch string) denseShape {
	return denseShape{"small", arch, 320, 3, 4, 2, 64, 512, 4200, 131072, 5e5, arch == "gemma3"}
}

func writeSmall(t *testing.T, s denseShape, mix string, threads int) (path string, bytes int64) {
	t.Helper()
	m, err := tensor.ParseMix(mix)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "m.gguf")
	if bytes, err = writeDense(t.Context(), path, s, DenseOptions{Mix: m, Seed: 3, Threads: threads}); err != nil {
		t.Fatal(err)
	}
	return path, bytes
}

// What is written can be read: the tensors, with the types of the mix and values
// of the deviations that were asked for, and the metadata.
func TestDenseFileIsRead(t *testing.T) {
	for _, arch := range []string{"llama", "qwen2", "qwen3", "gemma3"} {
		s := smallDense(arch)
		path, bytes := writeSmall(t, s, "q4_k_m", 2)
		info, err := os.Stat(path)
		if err != nil || info.Size() != bytes {
			t.Fatalf("%s: got a file of %v bytes (%v), want %d", arch, info.Size(), err, bytes)
		}
		c, err := source.OpenGGUF(os.DirFS(filepath.Dir(path)), "m", "m.gguf")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m := c.Metadata()
		if m["general.architecture"] != arch || m["sparseflow.synthetic"] != true || len(m["tokenizer.ggml.tokens"].([]string)) != s.vocab {
			t.Errorf("%s: got other metadata", arch)
		}
		mix, _ := tensor.ParseMix("q4_k_m")
		list := s.tensors(mix, mix)
		if got := len(c.Names()); got != len(list) {
			t.Errorf("%s: got %d tensors, want %d", arch, got, len(list))
		}
		for _, want := range list {
			got, ok := c.Tensor(want.name)
			if !ok {
				t.Fatalf("%s: got no tensor %s", arch, want.name)
			}
			if got.DType != want.dtype {
				t.Errorf("%s: %s: got %v, want %v", arch, want.name, got.DType, want.dtype)
			}
			raw := make([]byte, got.Bytes())
			if _, err := got.ReadAt(raw, 0); err != nil {
				t.Fatal(err)
			}
			n := int(want.shape[0])
			if len(want.shape) == 2 {
				n *= int(want.shape[1])
			}
			v := make([]float32, n)
			tensor.Decode(v, raw, got.DType)
			if want.values == nil && n > 5000 {
				sum, square := 0.0, 0.0
				for _, x := range v {
					sum += float64(x)
					square += float64(x) * float64(x)
				}
				mean := sum / float64(n)
				deviation := math.Sqrt(square/float64(n) - mean*mean)
				if math.Abs(mean-want.mean) > 0.03*want.deviation || math.Abs(deviation/want.deviation-1) > 0.03 {
					t.Errorf("%s: %s: got mean %g and deviation %g, want %g and %g", arch, want.name, mean, deviation, want.mean, want.deviation)
				}
			}
		}
	}
}

// The same options give the same bytes, whatever the threads; another type gives
// others.
func TestDenseFileIsTheSame(t *testing.T) {
	sums := map[string]string{}
	for _, mix := range []string{"q8_0", "q4_0", "bf16"} {
		for threads := 1; threads <= 3; threads++ {
			path, _ := writeSmall(t, smallDense("llama"), mix, threads)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(raw)
			if got := hex.EncodeToString(sum[:]); sums[mix] == "" {
				sums[mix] = got
			} else if got != sums[mix] {
				t.Errorf("%s: got other bytes with %d threads", mix, threads)
			}
		}
	}
}
