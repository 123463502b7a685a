package synth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// DenseOptions says what GGUF file to make.
type DenseOptions struct {
	Shape   string     // one of DenseShapes
	Mix     tensor.Mix // of its matrices; the head of one of 4 or 5 bits has 6, as llama.cpp's tools have it
	Seed    uint64
	Threads int // 0: one for each processor

	// Progress, if not nil, is told what is being written and how many bytes
	// are.
	Progress func(what string, done, total int64)
}

// WriteGGUF makes a GGUF file of a dense model with drawn weights and returns
// its size. The same options give the same bytes. Matrices are put together from
// pieces of 256 elements, of which 4096 are drawn for each type and deviation:
// rows differ, and writing takes the disk's time.
func WriteGGUF(ctx context.Context, path string, o DenseOptions) (bytes int64, err error) {
	s, err := findDense(o.Shape)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("synth: write %s: %w", path, err)
		}
	}()
	return writeDense(ctx, path, s, o)
}

func writeDense(ctx context.Context, path string, s denseShape, o DenseOptions) (bytes int64, err error) {
	head := o.Mix
	const some = tensor.SuperBlock
	if o.Mix.Type(tensor.Place{Cols: some}).RowBytes(some) < tensor.Q6_K.RowBytes(some) {
		if head, err = tensor.ParseMix("q6_k"); err != nil {
			return 0, err
		}
	}
	list := s.tensors(o.Mix, head)
	h := &gguf.Header{}
	if h.Metadata, err = s.metadata(o.Mix); err != nil {
		return 0, err
	}
	for _, t := range list {
		h.Tensors = append(h.Tensors, gguf.Tensor{Name: t.name, Shape: t.shape, Type: gguf.Type(t.dtype.GGML())})
	}
	start, err := h.Encode()
	if err != nil {
		return 0, err
	}
	last := h.Tensors[len(h.Tensors)-1]
	total := last.Offset + last.Bytes
	if err := convert.RoomFor(filepath.Dir(path), total); err != nil {
		return 0, err
	}
	w := &denseWriter{
		ctx: ctx, o: o, total: total, pools: map[poolKey][]byte{},
		buf: make([]byte, 0, writeStep), normals: newNormalTable(),
	}
	return total, atomicfile.Write(path, func(out io.Writer) error {
		w.out = out
		err := w.put(start)
		for i, t := range list {
			if err == nil {
				err = w.put(make([]byte, h.Tensors[i].Offset-w.done))
			}
			if err == nil {
				err = w.tensor(i, t)
			}
		}
		return err
	})
}

// fileTypes are the numbers that GGUF has for mixes (enum llama_ftype).
var fileTypes = map[string]uint32{
	"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9,
	"q4_k": 14, "q4_k_m": 15, "q5_k": 16, "q5_k_m": 17, "q6_k": 18, "bf16": 32,
}

// metadata are those of a file, with a byte-level tokenizer of the shape's size.
func (s denseShape) metadata(mix tensor.Mix) (map[string]any, error) {
	m := map[string]any{
		"general.architecture":         s.arch,
		"general.name":                 "synthetic " + s.name,
		"general.type":                 "model",
		"general.file_type":            fileTypes[mix.String()],
		"general.quantization_version": uint32(2),
		arch.SyntheticKey:              true,
	}
	for key, value := range map[string]any{
		"block_count":                      uint32(s.layers),
		"context_length":                   uint32(s.context),
		"embedding_length":                 uint32(s.hidden),
		"feed_forward_length":              uint32(s.ffn),
		"attention.head_count":             uint32(s.heads),
		"attention.head_count_kv":          uint32(s.kvHeads),
		"attention.key_length":             uint32(s.headDim),
		"attention.value_length":           uint32(s.headDim),
		"attention.layer_norm_rms_epsilon": float32(normEps),
		"rope.freq_base":                   s.base,
		"vocab_size":                       uint32(s.vocab),
	} {
		m[s.arch+"."+key] = value
	}
	switch s.arch {
	case "llama":
		m["llama.rope.dimension_count"] = uint32(s.headDim)
	case "gemma3":
		m["gemma3.attention.sliding_window"] = uint32(gemmaWindow)
	}
	return m, byteTokenizer(m, s.vocab)
}

// byteTokenizer adds to m the embedded model's vocabulary, with names that mean
// nothing for the ids beyond it.
func byteTokenizer(m map[string]any, size int) error {
	raw, err := tiny.Files.ReadFile("vocab.json")
	if err != nil {
		return err
	}
	var vocab map[string]int
	if err := json.Unmarshal(raw, &vocab); err != nil {
		return err
	}
	merges, err := tiny.Files.ReadFile("merges.txt")
	if err != nil {
		return err
	}
	const normal, control = 1, 3
	tokens, kinds := make([]string, size), make([]int32, size)
	for i := range tokens {
		tokens[i], kinds[i] = fmt.Sprintf("token%d", i), normal
	}
	for token, id := range vocab {
		if id >= size {
			return fmt.Errorf("got a vocabulary of %d tokens, want at least %d", size, len(vocab))
		}
		tokens[id] = token
		if id < 4 { // <s>, <pad>, </s> and <unk>
			kinds[id] = control
		}
	}
	m["tokenizer.ggml.model"] = "gpt2"
	m["tokenizer.ggml.pre"] = "gpt-2"
	m["tokenizer.ggml.tokens"] = tokens
	m["tokenizer.ggml.token_type"] = kinds
	m["tokenizer.ggml.merges"] = strings.Split(strings.TrimSpace(string(merges)), "\n")[1:]
	m["tokenizer.ggml.bos_token_id"] = uint32(0)
	m["tokenizer.ggml.eos_token_id"] = uint32(2)
	m["tokenizer.ggml.padding_token_id"] = uint32(1)
	m["tokenizer.ggml.add_bos_token"] = true
	return nil
}

const (
	writeStep  = 1 << 20 // bytes
	poolPieces = 1 << 12
	pieceElems = tensor.SuperBlock // and a divisor of it where rows are no multiple
)

// A poolKey is what the pieces of a pool have in common.
type poolKey struct {
	dtype           tensor.DType
	elems           int
	mean, deviation float64
}

type denseWriter struct {
	ctx         context.Context
	o           DenseOptions
	out         io.Writer
	done, total int64
	pools       map[poolKey][]byte
	normals     *normalTable
	buf         []byte
}

func (w *denseWriter) put(b []byte) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	n, err := w.out.Write(b)
	w.done += int64(n)
	return err
}

// tensor writes the tensor of number i.
func (w *denseWriter) tensor(i int, t denseTensor) error {
	if t.values != nil {
		b := make([]byte, t.dtype.RowBytes(len(t.values)))
		tensor.Encode(b, t.values, t.dtype)
		return w.put(b)
	}
	cols := t.shape[len(t.shape)-1]
	left := cols
	if len(t.shape) == 2 {
		left *= t.shape[0]
	}
	key := poolKey{t.dtype, gcd(pieceElems, int(cols)), t.mean, t.deviation}
	pool, ok := w.pools[key]
	if !ok {
		pool = w.pool(key)
		w.pools[key] = pool
	}
	size := len(pool) / poolPieces
	s := newStream(w.o.Seed, i, 0)
	for left /= int64(key.elems); left > 0; {
		w.buf = w.buf[:0]
		for ; left > 0 && len(w.buf)+size <= cap(w.buf); left-- {
			at := int(s.next()>>52) * size // 12 bits
			w.buf = append(w.buf, pool[at:at+size]...)
		}
		if err := w.put(w.buf); err != nil {
			return err
		}
		if w.o.Progress != nil {
			w.o.Progress(t.name, w.done, w.total)
		}
	}
	return nil
}

// pool draws the pieces of a key.
func (w *denseWriter) pool(k poolKey) []byte {
	size := int(k.dtype.RowBytes(k.elems))
	pool := make([]byte, poolPieces*size)
	number := int(math.Float64bits(k.deviation)>>20) ^ int(k.dtype)
	parallel.Spans(Options{Threads: w.o.Threads}.threads(), poolPieces, 64, func(from, to int) {
		v := make([]float32, k.elems)
		for i := from; i < to; i++ {
			s := newStream(w.o.Seed, number, i)
			w.normals.draw(v, &s, float32(k.deviation))
			for j := range v {
				v[j] += float32(k.mean)
			}
			tensor.Encode(pool[i*size:(i+1)*size], v, k.dtype)
		}
	})
	return pool
}

// gcd is the greatest common divisor.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
