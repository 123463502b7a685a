package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// shape is a model's sizes.
type shape struct {
	vocab, d, layers, heads, ffn, context int
}

// number is a type's in GGUF, as in ggml.h, and the llama_ftype of a file of it.
type number struct{ tensor, file uint32 }

// numbers are those of the types that are written.
func numbers(d tensor.DType) number {
	switch d {
	case tensor.F16:
		return number{1, 1}
	case tensor.Q4_0:
		return number{2, 2}
	case tensor.Q8_0:
		return number{8, 7}
	}
	return number{0, 0} // of float32
}

// tensorSpec is a tensor to write.
type tensorSpec struct {
	name  string
	shape []int // columns, then rows
	dtype tensor.DType
}

func (t tensorSpec) elements() int {
	n := 1
	for _, v := range t.shape {
		n *= v
	}
	return n
}

func (t tensorSpec) bytes() int64 { return t.dtype.RowBytes(t.elements()) }

// tensors lists what the architecture demands.
func (s shape) tensors(d tensor.DType) []tensorSpec {
	ts := []tensorSpec{{"token_embd.weight", []int{s.d, s.vocab}, d}, {"position_embd.weight", []int{s.d, s.context}, d}}
	norm := func(name string) {
		ts = append(ts, tensorSpec{name + ".weight", []int{s.d}, tensor.F32}, tensorSpec{name + ".bias", []int{s.d}, tensor.F32})
	}
	linear := func(name string, in, out int) {
		ts = append(ts, tensorSpec{name + ".weight", []int{in, out}, d}, tensorSpec{name + ".bias", []int{out}, tensor.F32})
	}
	norm("output_norm")
	for i := range s.layers {
		at := fmt.Sprintf("blk.%d.", i)
		norm(at + "attn_norm")
		linear(at+"attn_qkv", s.d, 3*s.d)
		linear(at+"attn_output", s.d, s.d)
		norm(at + "ffn_norm")
		linear(at+"ffn_up", s.d, s.ffn)
		linear(at+"ffn_down", s.ffn, s.d)
	}
	return ts
}

// entry is a value of the metadata: a uint32, float32, string, []string or []int32.
type entry struct {
	key   string
	value any
}

// metadata lists the entries.
func (s shape) metadata(d tensor.DType) []entry {
	tokens := vocabulary(s.vocab)
	types := make([]int32, s.vocab)
	for i := range types {
		types[i] = 1 // normal
	}
	last := uint32(s.vocab - 1)
	types[last] = 3 // control
	return []entry{
		{"general.architecture", "gpt2"},
		{"general.name", "random"},
		{"general.file_type", numbers(d).file},
		{"gpt2.context_length", uint32(s.context)},
		{"gpt2.embedding_length", uint32(s.d)},
		{"gpt2.feed_forward_length", uint32(s.ffn)},
		{"gpt2.block_count", uint32(s.layers)},
		{"gpt2.attention.head_count", uint32(s.heads)},
		{"gpt2.attention.layer_norm_epsilon", float32(1e-5)},
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "gpt-2"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", types},
		{"tokenizer.ggml.merges", []string{"a b"}},
		{"tokenizer.ggml.bos_token_id", last},
		{"tokenizer.ggml.eos_token_id", last},
	}
}

// vocabulary is the 256 bytes, in the letters that byte-level BPE has for
// them, names that mean nothing, and an end-of-text token.
func vocabulary(n int) []string {
	tokens := make([]string, 0, n)
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if printable := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae; !printable {
			r, next = next, next+1
		}
		tokens = append(tokens, string(r))
	}
	tokens = append(tokens, "ab") // the one merge
	for i := len(tokens); i < n-1; i++ {
		tokens = append(tokens, fmt.Sprintf("token%d", i))
	}
	return append(tokens, "<|endoftext|>")
}

// alignment is where tensors start, the format's default.
const alignment = 32

// writer writes until the first error.
type writer struct {
	to  io.Writer
	at  int64
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.to.Write(b)
	}
	w.at += int64(len(b))
	return len(b), w.err
}

// put writes numbers, and texts behind their lengths.
func (w *writer) put(values ...any) {
	for _, v := range values {
		if text, ok := v.(string); ok {
			w.put(uint64(len(text)), []byte(text))
		} else if err := binary.Write(w, binary.LittleEndian, v); w.err == nil {
			w.err = err
		}
	}
}

func (w *writer) pad() { w.put(make([]byte, -w.at&(alignment-1))) }

// file writes the whole file: version 3 of the format.
func (w *writer) file(s shape, d tensor.DType) {
	ts, entries := s.tensors(d), s.metadata(d)
	w.put([]byte("GGUF"), uint32(3), uint64(len(ts)), uint64(len(entries)))
	for _, e := range entries {
		w.entry(e)
	}
	offset := int64(0)
	for _, t := range ts {
		w.put(t.name, uint32(len(t.shape)))
		for _, n := range t.shape {
			w.put(uint64(n))
		}
		w.put(numbers(t.dtype).tensor, uint64(offset))
		offset += (t.bytes() + alignment - 1) &^ (alignment - 1)
	}
	w.pad()
	tables := map[tensor.DType][]byte{tensor.F32: table(tensor.F32), d: table(d)}
	for _, t := range ts {
		table := tables[t.dtype]
		for left := t.bytes(); left > 0 && w.err == nil; left -= int64(len(table)) {
			w.put(table[:min(int64(len(table)), left)])
		}
		w.pad()
	}
}

// entry writes a key, the number of the value's type, and the value.
func (w *writer) entry(e entry) {
	const typeU32, typeI32, typeF32, typeString, typeArray = 4, 5, 6, 8, 9
	w.put(e.key)
	switch v := e.value.(type) {
	case uint32:
		w.put(uint32(typeU32), v)
	case float32:
		w.put(uint32(typeF32), v)
	case string:
		w.put(uint32(typeString), v)
	case []int32:
		w.put(uint32(typeArray), uint32(typeI32), uint64(len(v)), v)
	case []string:
		w.put(uint32(typeArray), uint32(typeString), uint64(len(v)))
		for _, text := range v {
			w.put(text)
		}
	}
}

// table is what all tensors of a type are made of, over and over: normal values of
// the deviation that GPT-2 starts with. Its length is odd in blocks, so that rows
// differ.
func table(d tensor.DType) []byte {
	const deviation, blocks = 0.02, 1<<15 - 1
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, blocks*tensor.QuantBlock)
	for i := range values {
		values[i] = float32(deviation * rng.NormFloat64())
	}
	b := make([]byte, d.RowBytes(len(values)))
	tensor.Encode(b, values, d)
	return b
}
