package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// smallShape is a dense shape of an architecture whose rows blocks of 256 do not fill.
func smallShape(family string) ggufShape {
	return ggufShape{"small", family, 320, 3, 4, 2, 64, 512, 4200, 131072, 5e5, family == "gemma3", mixture{}}
}

func writeSmall(t *testing.T, s ggufShape, mix string, threads int) (path string, bytes int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "m.gguf")
	bytes, err := writeGGUF(t.Context(), path, s, GGUFOptions{Quant: mix, Seed: 3, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return path, bytes
}

// Mixtures of experts are read by their families, with experts of the type that was
// asked for, which neither read the first coordinates of the stream nor write to them.
func TestMixtures(t *testing.T) {
	for _, c := range []struct {
		arch, quant string
		want        tensor.DType
	}{{qwenExperts, "q8_0", tensor.Q8_0}, {gptOSS, "mxfp4", tensor.MXFP4}} {
		s := ggufShape{"small", c.arch, 256, 3, 4, 2, 64, 512, 4200, 4096, 1e6, false, mixture{8, 2, 64}}
		path, _ := writeSmall(t, s, c.quant, 2)
		file, err := source.OpenGGUF(os.DirFS(filepath.Dir(path)), "m", "m.gguf")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		p, err := arch.ReadGGUF(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := arch.Map(file, p, path)
		if err != nil {
			t.Fatal(err)
		}
		if p.Experts() != 8 || p.MostTopK() != 2 || len(m.Experts) != 3 || len(m.Notices) > 0 {
			t.Fatalf("%s: got %d experts, %d for a token, in %d layers, and %q", c.arch, p.Experts(), p.MostTopK(), len(m.Experts), m.Notices)
		}
		for part, of := range m.Experts[1].Parts {
			x := of[5].Tensor
			if x.DType != c.want {
				t.Errorf("%s: part %d: got %v, want %v", c.arch, part, x.DType, c.want)
			}
			raw := make([]byte, x.Bytes())
			if _, err := x.ReadAt(raw, 0); err != nil {
				t.Fatal(err)
			}
			cols := int(x.Shape[len(x.Shape)-1])
			row, sum := x.DType.RowBytes(cols), 0.0
			v := make([]float32, cols)
			for i := range marks {
				tensor.Decode(v, raw[(of[5].First+int64(i))*row:][:row], x.DType)
				for j, a := range v {
					if sum += math.Abs(float64(a)); part < 2 && j < marks && a != 0 {
						t.Fatalf("%s: part %d: got %v for coordinate %d of u, want 0: routers alone read it", c.arch, part, a, j)
					}
				}
			}
			if (sum == 0) != (part == 2) {
				t.Errorf("%s: part %d: got a sum of %v in the first rows", c.arch, part, sum)
			}
		}
	}
}

// What is written can be read: the tensors, with the types of the mix and values
// of the deviations that were asked for, and the metadata.
func TestGGUFIsRead(t *testing.T) {
	for _, family := range []string{"llama", "qwen2", "gemma3"} {
		s := smallShape(family)
		path, size := writeSmall(t, s, "q4_k_m", 2)
		info, err := os.Stat(path)
		if err != nil || info.Size() != size {
			t.Fatalf("%s: got a file of %v bytes (%v), want %d", family, info.Size(), err, size)
		}
		c, err := source.OpenGGUF(os.DirFS(filepath.Dir(path)), "m", "m.gguf")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if m := c.Metadata(); m["general.architecture"] != family || m[arch.SyntheticKey] != true {
			t.Errorf("%s: got other metadata", family)
		}
		if ids := tokensOf(t, path); len(ids) != s.vocab {
			t.Errorf("%s: got %d tokens, want %d", family, len(ids), s.vocab)
		}
		q, _ := s.quants("q4_k_m")
		list := s.tensors(q)
		if got := len(c.Names()); got != len(list) {
			t.Errorf("%s: got %d tensors, want %d", family, got, len(list))
		}
		for _, want := range list {
			got, ok := c.Tensor(want.name)
			if !ok {
				t.Fatalf("%s: got no tensor %s", family, want.name)
			}
			if got.DType != want.dtype {
				t.Errorf("%s: %s: got %v, want %v", family, want.name, got.DType, want.dtype)
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
					t.Errorf("%s: %s: got mean %g and deviation %g, want %g and %g", family, want.name, mean, deviation, want.mean, want.deviation)
				}
			}
		}
	}
}

// tokensOf is a file's vocabulary.
func tokensOf(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	h, err := gguf.ReadHeader(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	tokens, _ := h.Metadata["tokenizer.ggml.tokens"].([]string)
	return tokens
}

// The same options give the same bytes, whatever the threads; another type gives
// others.
func TestGGUFIsTheSame(t *testing.T) {
	sums := map[string]string{}
	for _, mix := range []string{"q4_0", "bf16"} {
		for threads := 1; threads <= 3; threads += 2 {
			path, _ := writeSmall(t, smallShape("llama"), mix, threads)
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

// The published shapes are what their families' configurations say: every tensor
// of the file is one that the profile wants, of its size.
func TestGGUFShapes(t *testing.T) {
	for _, s := range ggufShapes() {
		q, _ := s.quants("f16")
		p, err := GGUFProfile(s.name)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		want := p.SharedTensors()
		for i := range p.Layers {
			want = append(want, p.LayerTensors(i)...)
			for _, x := range p.ExpertTensors(i) {
				want = append(want, config.TensorShape{Rows: p.Experts() * x.Rows, Cols: x.Cols})
			}
		}
		sizes := map[[2]int]int{}
		for _, x := range want {
			sizes[[2]int{x.Rows, x.Cols}]++
		}
		for _, x := range s.tensors(q) {
			last := len(x.shape) - 1
			size := [2]int{1, int(x.shape[last])}
			for _, n := range x.shape[:last] {
				size[0] *= int(n)
			}
			if x.name != "rope_freqs.weight" {
				sizes[size]--
			}
		}
		for size, n := range sizes {
			if n != 0 {
				t.Errorf("%s: got %d tensors of %v less than the profile has", s.name, n, size)
			}
		}
	}
	if _, err := GGUFProfile("qwen3-0.7b"); err == nil || !strings.Contains(err.Error(), "did you mean qwen3-0.6b") {
		t.Errorf("qwen3-0.7b: got %v", err)
	}
}

// A file becomes a pack that keeps every byte, or that has the values in another
// type.
func TestGGUFIsPacked(t *testing.T) {
	path, _ := writeSmall(t, smallShape("qwen3"), "q4_k_m", 2)
	src, err := hub.FindIn(path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := src.Weights()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, quant := range []convert.Quant{convert.Keep, convert.Q8_0} {
		to := filepath.Join(t.TempDir(), "m.sflow")
		if _, err := convert.ConvertModel(t.Context(), src, to, convert.Options{Attn: quant, MLP: quant}); err != nil {
			t.Fatal(err)
		}
		p, err := pack.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for name, of := range map[string]string{
			"embed.tokens": "token_embd.weight", "head": "output.weight", "layers.0.attn.v.weight": "blk.0.attn_v.weight",
			"layers.1.mlp.down.weight": "blk.1.ffn_down.weight", "layers.2.mlp.down.weight": "blk.2.ffn_down.weight",
		} {
			from, _ := c.Tensor(of)
			want := make([]byte, from.Bytes())
			if _, err := from.ReadAt(want, 0); err != nil {
				t.Fatal(err)
			}
			if x, _ := p.Tensor(name); quant == convert.Keep && x.Elem != from.DType || quant != convert.Keep && x.Elem != tensor.Q8_0 {
				t.Errorf("%s: %s: got %v", quant, name, x.Elem)
			}
			if quant != convert.Keep {
				v := make([]float32, from.Shape[0]*from.Shape[1])
				tensor.Decode(v, want, from.DType)
				want = make([]byte, tensor.Q8_0.RowBytes(len(v)))
				tensor.Encode(want, v, tensor.Q8_0)
			}
			got, err := p.ReadTensor(name)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %s: got other bytes, %v", quant, name, err)
			}
		}
	}
}
