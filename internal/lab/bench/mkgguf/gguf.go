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

// kind is a tensor type of GGUF: its number there, the llama_ftype of a file of
// it, and blocks of so many elements in so many bytes.
type kind struct {
	id, fileType  uint32
	block, nbytes int
}

// The types written, numbered as in ggml.h.
const (
	idF32  = 0
	idF16  = 1
	idQ4_0 = 2
	idQ8_0 = 8
)

// kindOf is the type of a name.
func kindOf(name string) (kind, bool) {
	switch name {
	case "f32":
		return kind{idF32, 0, 1, 4}, true
	case "f16":
		return kind{idF16, 1, 1, 2}, true
	case "q4_0":
		return kind{idQ4_0, 2, 32, 18}, true
	case "q8_0":
		return kind{idQ8_0, 7, 32, 34}, true
	}
	return kind{}, false
}

// check returns the type of the matrices.
func (s shape) check(name string) (kind, error) {
	k, ok := kindOf(name)
	switch {
	case !ok || name == "f32":
		return k, fmt.Errorf("type: got %q, want f16, q8_0 or q4_0", name)
	case s.vocab < 260 || s.layers < 1 || s.context < 1:
		return k, fmt.Errorf("sizes: got %d tokens, %d layers, %d positions, want at least 260, 1 and 1", s.vocab, s.layers, s.context)
	case s.d < 32 || s.d%32 != 0 || s.ffn < 32 || s.ffn%32 != 0:
		return k, fmt.Errorf("sizes: got hidden size %d and %d neurons, want multiples of 32", s.d, s.ffn)
	case s.heads < 1 || s.d%s.heads != 0:
		return k, fmt.Errorf("heads: got %d, want a divisor of %d", s.heads, s.d)
	}
	return k, nil
}

// tensorSpec is a tensor to write. Its elements are of deviation std, or all
// ones where std is 0.
type tensorSpec struct {
	name string
	cols int
	rows int // 0: a vector
	kind kind
	std  float64
}

func (t tensorSpec) elements() int { return t.cols * max(1, t.rows) }
func (t tensorSpec) bytes() int64  { return int64(t.elements()/t.kind.block) * int64(t.kind.nbytes) }

// tensors lists what the architecture demands.
func (s shape) tensors(k kind) []tensorSpec {
	var ts []tensorSpec
	f32, _ := kindOf("f32")
	vector := func(name string, n int, std float64) {
		ts = append(ts, tensorSpec{name, n, 0, f32, std})
	}
	norm := func(name string) { vector(name+".weight", s.d, 0); vector(name+".bias", s.d, 0.02) }
	linear := func(name string, in, out int) {
		ts = append(ts, tensorSpec{name + ".weight", in, out, k, 1 / math.Sqrt(float64(in))})
		vector(name+".bias", out, 0.02)
	}
	ts = append(ts, tensorSpec{"token_embd.weight", s.d, s.vocab, k, 0.05}, tensorSpec{"position_embd.weight", s.d, s.context, k, 0.05})
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
func (w *writer) file(s shape, k kind) {
	ts := s.tensors(k)
	w.write([]byte("GGUF"))
	w.u32(3)
	w.u64(uint64(len(ts)))
	w.metadata(s, k)
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
		w.u32(t.kind.id)
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
func (w *writer) metadata(s shape, k kind) {
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
		func() { w.u32Entry("general.file_type", k.fileType) },
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
	buf := make([]byte, 0, 4*chunk)
	for left := t.elements(); left > 0 && w.err == nil; left -= len(values) {
		values = values[:min(chunk, left)]
		for i := range values {
			values[i] = 1
			if t.std > 0 {
				values[i] = float32(t.std) * r.normal[r.rng.Uint64()>>48]
			}
		}
		buf = t.kind.encode(buf[:0], values)
		w.write(buf)
	}
}

// encode appends values, whole blocks, to b.
func (k kind) encode(b []byte, values []float32) []byte {
	switch k.id {
	case idF32:
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	case idF16:
		n := len(b)
		b = append(b, make([]byte, 2*len(values))...)
		tensor.Encode(b[n:], values, tensor.F16)
		return b
	}
	for len(values) > 0 {
		b = k.quantise(b, values[:k.block])
		values = values[k.block:]
	}
	return b
}

// quantise appends one block: its scale, then 32 integers of 8 or 4 bits. Of
// 4-bit ones, byte j holds elements j and j+16, each with 8 added.
func (k kind) quantise(b []byte, v []float32) []byte {
	most := 127
	if k.id == idQ4_0 {
		most = 7
	}
	largest := 0.0
	for _, x := range v {
		largest = max(largest, math.Abs(float64(x)))
	}
	scale := largest / float64(most)
	b = binary.LittleEndian.AppendUint16(b, tensor.F32ToF16(float32(scale)))
	q := make([]int, len(v))
	for i, x := range v {
		if scale > 0 {
			q[i] = int(math.Round(float64(x) / scale))
		}
	}
	if most == 127 {
		for _, x := range q {
			b = append(b, byte(int8(x)))
		}
		return b
	}
	for j := range len(q) / 2 {
		b = append(b, byte(q[j]+8)|byte(q[j+len(q)/2]+8)<<4)
	}
	return b
}
