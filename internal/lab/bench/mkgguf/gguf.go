package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
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

// check returns the type of the matrices.
func (s shape) check(name string) (d tensor.DType, err error) {
	d, err = tensor.ParseDType(name)
	switch {
	case err != nil || numbers(d) == numbers(tensor.F32):
		return d, fmt.Errorf("type: got %q, want f16, q8_0 or q4_0", name)
	case s.vocab < 260 || s.layers < 1 || s.context < 1:
		return d, fmt.Errorf("sizes: got %d tokens, %d layers, %d positions, want at least 260, 1 and 1", s.vocab, s.layers, s.context)
	case s.d < 32 || s.d%32 != 0 || s.ffn < 32 || s.ffn%32 != 0:
		return d, fmt.Errorf("sizes: got hidden size %d and %d neurons, want multiples of 32", s.d, s.ffn)
	case s.heads < 1 || s.d%s.heads != 0:
		return d, fmt.Errorf("heads: got %d, want a divisor of %d", s.heads, s.d)
	}
	return d, nil
}

// tensorSpec is a tensor to write. Its elements are of deviation std, or all
// ones where std is 0.
type tensorSpec struct {
	name  string
	cols  int
	rows  int // 0: a vector
	dtype tensor.DType
	std   float64
}

func (t tensorSpec) elements() int { return t.cols * max(1, t.rows) }
func (t tensorSpec) bytes() int64  { return t.dtype.RowBytes(t.elements()) }

// tensors lists what the architecture demands.
func (s shape) tensors(d tensor.DType) []tensorSpec {
	var ts []tensorSpec
	vector := func(name string, n int, std float64) {
		ts = append(ts, tensorSpec{name, n, 0, tensor.F32, std})
	}
	norm := func(name string) { vector(name+".weight", s.d, 0); vector(name+".bias", s.d, 0.02) }
	linear := func(name string, in, out int) {
		ts = append(ts, tensorSpec{name + ".weight", in, out, d, 1 / math.Sqrt(float64(in))})
		vector(name+".bias", out, 0.02)
	}
	ts = append(ts, tensorSpec{"token_embd.weight", s.d, s.vocab, d, 0.05}, tensorSpec{"position_embd.weight", s.d, s.context, d, 0.05})
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

// alignment is where tensors start, the format's default.
const alignment = 32

// writer writes until the first error.
type writer struct {
	to  io.Writer
	at  int64
	err error
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.to.Write(b)
	}
	w.at += int64(len(b))
}

func (w *writer) u32(v uint32) { w.write(binary.LittleEndian.AppendUint32(nil, v)) }
func (w *writer) u64(v uint64) { w.write(binary.LittleEndian.AppendUint64(nil, v)) }

func (w *writer) text(s string) {
	w.u64(uint64(len(s)))
	w.write([]byte(s))
}

func (w *writer) pad() { w.write(make([]byte, -w.at&(alignment-1))) }

// Types of metadata values.
const (
	typeU32    = 4
	typeI32    = 5
	typeF32    = 6
	typeString = 8
	typeArray  = 9
)

// file writes the whole file: version 3 of the format.
func (w *writer) file(s shape, d tensor.DType) {
	ts := s.tensors(d)
	w.write([]byte("GGUF"))
	w.u32(3)
	w.u64(uint64(len(ts)))
	w.metadata(s, d)
	offset := int64(0)
	for _, t := range ts {
		w.text(t.name)
		if t.rows == 0 {
			w.u32(1)
			w.u64(uint64(t.cols))
		} else {
			w.u32(2)
			w.u64(uint64(t.cols))
			w.u64(uint64(t.rows))
		}
		w.u32(numbers(t.dtype).tensor)
		w.u64(uint64(offset))
		offset += (t.bytes() + alignment - 1) &^ (alignment - 1)
	}
	w.pad()
	r := newRandom()
	for _, t := range ts {
		w.tensor(t, r)
		w.pad()
	}
}

// metadata writes the number of entries and the entries.
func (w *writer) metadata(s shape, d tensor.DType) {
	tokens := vocabulary(s.vocab)
	texts := func(key string, vs []string) {
		w.text(key)
		w.u32(typeArray)
		w.u32(typeString)
		w.u64(uint64(len(vs)))
		for _, v := range vs {
			w.text(v)
		}
	}
	entries := []func(){
		func() { w.textEntry("general.architecture", "gpt2") },
		func() { w.textEntry("general.name", "random") },
		func() { w.u32Entry("general.file_type", numbers(d).file) },
		func() { w.u32Entry("gpt2.context_length", uint32(s.context)) },
		func() { w.u32Entry("gpt2.embedding_length", uint32(s.d)) },
		func() { w.u32Entry("gpt2.feed_forward_length", uint32(s.ffn)) },
		func() { w.u32Entry("gpt2.block_count", uint32(s.layers)) },
		func() { w.u32Entry("gpt2.attention.head_count", uint32(s.heads)) },
		func() {
			w.text("gpt2.attention.layer_norm_epsilon")
			w.u32(typeF32)
			w.u32(math.Float32bits(1e-5))
		},
		func() { w.textEntry("tokenizer.ggml.model", "gpt2") },
		func() { w.textEntry("tokenizer.ggml.pre", "gpt-2") },
		func() { texts("tokenizer.ggml.tokens", tokens) },
		func() { w.tokenTypes(len(tokens)) },
		func() { texts("tokenizer.ggml.merges", []string{"a b"}) },
		func() { w.u32Entry("tokenizer.ggml.bos_token_id", uint32(len(tokens)-1)) },
		func() { w.u32Entry("tokenizer.ggml.eos_token_id", uint32(len(tokens)-1)) },
	}
	w.u64(uint64(len(entries)))
	for _, write := range entries {
		write()
	}
}

func (w *writer) textEntry(key, v string) {
	w.text(key)
	w.u32(typeString)
	w.text(v)
}

func (w *writer) u32Entry(key string, v uint32) {
	w.text(key)
	w.u32(typeU32)
	w.u32(v)
}

// tokenTypes says that all tokens are normal but the last, which is control.
func (w *writer) tokenTypes(n int) {
	w.text("tokenizer.ggml.token_type")
	w.u32(typeArray)
	w.u32(typeI32)
	w.u64(uint64(n))
	for i := range n {
		w.u32(map[bool]uint32{true: 3, false: 1}[i == n-1])
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

// random draws normal values from a table, which is fast.
type random struct {
	rng    *rand.PCG
	normal [1 << 16]float32
}

func newRandom() *random {
	r := &random{rng: rand.NewPCG(1, 2)}
	from := rand.New(rand.NewPCG(3, 4))
	for i := range r.normal {
		r.normal[i] = float32(from.NormFloat64())
	}
	return r
}

// tensor writes a tensor's elements.
func (w *writer) tensor(t tensorSpec, r *random) {
	const chunk = 1 << 16 // elements; whole blocks
	values := make([]float32, chunk)
	buf := make([]byte, tensor.F32.RowBytes(chunk))
	for left := t.elements(); left > 0 && w.err == nil; left -= len(values) {
		values = values[:min(chunk, left)]
		for i := range values {
			values[i] = 1
			if t.std > 0 {
				values[i] = float32(t.std) * r.normal[r.rng.Uint64()>>48]
			}
		}
		out := buf[:t.dtype.RowBytes(len(values))]
		tensor.Encode(out, values, t.dtype)
		w.write(out)
	}
}
