package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

// Of a model that cannot be run it is said why, and what is there.
func TestFactsOfUnknown(t *testing.T) {
	h := gguf.Header{
		Metadata: map[string]any{"general.architecture": "lama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2"},
		Tensors:  []gguf.Tensor{{Name: "a", Shape: []int64{2, 32}, Type: 8}, {Name: "b", Shape: []int64{5}, Type: 0}, {Name: "c", Shape: []int64{256}, Type: 16}},
	}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	last := h.Tensors[2]
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, append(b, make([]byte, last.Offset+last.Bytes-h.Data)...), 0o666); err != nil {
		t.Fatal(err)
	}
	src, err := hub.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFacts(src)
	if err != nil || f.Profile != nil || f.Problem == nil || !strings.Contains(f.Problem.Error(), "the nearest that is known is llama") {
		t.Fatalf("got %+v, %v", f, err)
	}
	if f.Architecture != "lama" || f.Parameters != 64+5+256 || len(f.Files) != 1 || f.Files[0] != path {
		t.Errorf("got %+v", f)
	}
	want := []TypeFact{{"Q8_0", 1, 68}, {"IQ2_XXS", 1, 66}, {"F32", 1, 20}}
	if len(f.Types) != 3 || f.Types[0] != want[0] || f.Types[1] != want[1] || f.Types[2] != want[2] {
		t.Errorf("got types %v, want %v", f.Types, want)
	}
	if kind, err := TokenizerKind(src); err != nil || kind != "gpt2, qwen2" {
		t.Errorf("got tokenizer %q, %v", kind, err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFacts(src); err == nil || !strings.Contains(err.Error(), "is it cut off?") {
		t.Errorf("cut off: got %v", err)
	}
}

// Of one that can it is what its headers say, whether it is packed or not.
func TestFacts(t *testing.T) {
	for dir, inPlace := range map[string]bool{"gelu": true, "pre-norm": false} {
		path, err := filepath.Abs("../../testdata/opt/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		src, err := hub.Find(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFacts(src)
		if err != nil || f.Problem != nil || f.Profile == nil || f.InPlace != inPlace || f.Architecture != "opt" || len(f.Types) != 1 {
			t.Errorf("%s: got %+v, %v", dir, f, err)
		}
		packed := filepath.Join(t.TempDir(), "m.sflow")
		if _, err := ConvertModel(t.Context(), src, packed, Options{}); err != nil {
			t.Fatal(err)
		}
		if src, err = hub.Find(packed); err != nil {
			t.Fatal(err)
		}
		p, err := ReadFacts(src)
		if err != nil || p.Parameters != f.Parameters || p.InPlace || p.Profile == nil || p.Types[0].Bytes < f.Types[0].Bytes {
			t.Errorf("%s packed: got %+v, %v, want as %+v", dir, p, err, f)
		}
	}
}
