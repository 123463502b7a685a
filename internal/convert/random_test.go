package convert

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// randomOPT is an OPT checkpoint of random weights, whose output means nothing.
type randomOPT struct {
	vocab, d, layers, heads, ffn, positions int

	dtype  tensor.DType
	shards int  // weight files; 0 or 1: one file without an index
	bare   bool // names without the "model." prefix
}

// write makes the directory dir of it. The same checkpoint gives the same files.
func (o randomOPT) write(tb testing.TB, dir string) {
	tb.Helper()
	files := map[string]any{"config.json": map[string]any{
		"architectures": []string{"OPTForCausalLM"}, "model_type": "opt",
		"vocab_size": o.vocab, "hidden_size": o.d, "word_embed_proj_dim": o.d, "ffn_dim": o.ffn,
		"num_hidden_layers": o.layers, "num_attention_heads": o.heads, "max_position_embeddings": o.positions,
		"activation_function": "relu", "bos_token_id": 2, "pad_token_id": 1, "eos_token_id": 2,
	}}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	tensors, shards := o.tensors(), max(1, o.shards)
	weightMap := map[string]string{}
	for i := range shards {
		name := "model.safetensors"
		if shards > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		}
		part := tensors[len(tensors)*i/shards : len(tensors)*(i+1)/shards]
		for _, t := range part {
			weightMap[t.Name] = name
		}
		writeShard(tb, filepath.Join(dir, name), part)
	}
	if shards > 1 {
		files["model.safetensors.index.json"] = map[string]any{"metadata": map[string]any{}, "weight_map": weightMap}
	}
	for name, v := range files {
		b, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o666)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// A drawnTensor is a tensor of a shard, and what writes its bytes.
type drawnTensor struct {
	source.SafetensorsEntry
	write func(io.Writer) error
}

func writeShard(tb testing.TB, path string, tensors []drawnTensor) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var entries []source.SafetensorsEntry
	for _, t := range tensors {
		entries = append(entries, t.SafetensorsEntry)
	}
	header, err := source.BuildHeader(map[string]string{"format": "pt"}, entries, 8)
	if err == nil {
		_, err = f.Write(header)
	}
	for _, t := range tensors {
		if err == nil {
			err = t.write(f)
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// tensors lists the weights, each of elements of deviation 0.05.
func (o randomOPT) tensors() (list []drawnTensor) {
	prefix := "model.decoder."
	if o.bare {
		prefix = "decoder."
	}
	add := func(name string, shape ...int64) {
		n := int64(1)
		for _, s := range shape {
			n *= s
		}
		seed := uint64(len(list))
		list = append(list, drawnTensor{
			source.SafetensorsEntry{Name: prefix + name, DType: o.dtype.String(), Shape: shape, Bytes: o.dtype.RowBytes(int(n))},
			func(w io.Writer) error { return o.values(w, seed, int(n)) },
		})
	}
	d, ffn := int64(o.d), int64(o.ffn)
	linear := func(name string, out, in int64) {
		add(name+".weight", out, in)
		add(name+".bias", out)
	}
	norm := func(name string) {
		add(name+".weight", d)
		add(name+".bias", d)
	}
	add("embed_tokens.weight", int64(o.vocab), d)
	add("embed_positions.weight", int64(o.positions+2), d)
	norm("final_layer_norm")
	for l := range o.layers {
		at := fmt.Sprintf("layers.%d.", l)
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
			linear(at+"self_attn."+name, d, d)
		}
		norm(at + "self_attn_layer_norm")
		linear(at+"fc1", ffn, d)
		linear(at+"fc2", d, ffn)
		norm(at + "final_layer_norm")
	}
	return list
}

// values writes n elements, each drawn from a table.
func (o randomOPT) values(w io.Writer, seed uint64, n int) error {
	rng := rand.New(rand.NewPCG(3, seed))
	drawn := make([]float32, 1<<12)
	for i := range drawn {
		drawn[i] = float32(0.05 * rng.NormFloat64())
	}
	size := int(o.dtype.RowBytes(1))
	table, buf := make([]byte, len(drawn)*size), make([]byte, 0, 1<<16)
	tensor.Encode(table, drawn, o.dtype)
	for n > 0 {
		buf = buf[:0]
		for ; n > 0 && len(buf) < 1<<16; n-- {
			at := int(rng.Uint32N(1<<12)) * size
			buf = append(buf, table[at:at+size]...)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
