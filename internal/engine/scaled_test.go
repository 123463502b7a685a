package engine_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A model whose scales undo what its weights are multiplied by, powers of two that
// lose nothing, is the golden one.
func TestScales(t *testing.T) {
	const name = "families/llama"
	src := checkpoints(t)[name]
	for family, more := range map[string]map[string]any{
		// A quarter of 16 heads' elements is the scale of scores that Llama has.
		"granite": {"embedding_multiplier": 4, "residual_multiplier": 0.5, "logits_scaling": 8, "attention_multiplier": 0.25},
		"minicpm": {"scale_emb": 4, "scale_depth": 0.5 * 1.7320508075688772, "dim_model_base": 8, "tie_word_embeddings": false},
	} {
		dir := t.TempDir()
		raw, err := fs.ReadFile(src, "config.json")
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		maps.Copy(c, more)
		c["model_type"] = family
		if raw, err = json.Marshal(c); err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		writeScaled(t, src, filepath.Join(dir, "model.safetensors"), map[string]float32{
			"embed_tokens": 1.0 / 4, "o_proj": 2, "down_proj": 2, "lm_head": 8,
		})
		for _, share := range []float64{1, 0.5} {
			e := open(t, packOf(t, os.DirFS(dir), family), engine.Options{Strategy: strategy(config.Dense, share)})
			checkGolden(t, readGolden(t, goldenDir+name+"/golden.json"), e, nil)
		}
	}
}

// writeScaled writes src's tensors as float32, those multiplied whose names have one
// of these parts.
func writeScaled(t *testing.T, src fs.FS, path string, factors map[string]float32) {
	t.Helper()
	ckpt, err := source.Open(src, "golden")
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	var entries []source.SafetensorsEntry
	var data []byte
	for _, name := range ckpt.Names() {
		x, _ := ckpt.Tensor(name)
		raw := make([]byte, x.Bytes())
		if _, err := x.ReadAt(raw, 0); err != nil {
			t.Fatal(err)
		}
		v := make([]float32, x.Bytes()/x.DType.RowBytes(1))
		tensor.Decode(v, raw, x.DType)
		for part, f := range factors {
			for i := range v {
				if strings.Contains(name, part) {
					v[i] *= f
				}
			}
		}
		at := len(data)
		data = append(data, make([]byte, 4*len(v))...)
		tensor.Encode(data[at:], v, tensor.F32)
		entries = append(entries, source.SafetensorsEntry{Name: name, DType: "F32", Shape: x.Shape, Bytes: int64(4 * len(v))})
	}
	head, err := source.BuildHeader(nil, entries, 8)
	if err == nil {
		err = os.WriteFile(path, append(head, data...), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}
