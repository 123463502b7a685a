package synth

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// GGUFOptions says what GGUF file to make.
type GGUFOptions struct {
	Shape string // one of GGUFShapes
	// Quant is the mix of its matrices, one of GGUFQuants; empty: MXFP4 for gpt-oss,
	// otherwise q4_k_m. The head of one of 4 or 5 bits has 6, as llama.cpp's tools
	// have it.
	Quant   string
	Layers  int // in place of the shape's; 0: as many as that has
	Seed    uint64
	Threads int // 0: one for each processor

	// Progress, if not nil, is told what is being written and how many bytes
	// are.
	Progress func(what string, done, total int64)
}

// mxfp4 is the mix of the gpt-oss files that people have: experts in MXFP4, and every
// other matrix in Q8_0.
const mxfp4 = "mxfp4"

// GGUFQuants are the names of mixes that WriteGGUF takes.
func GGUFQuants() []string { return append(tensor.Mixes(), mxfp4) }

// quants are the types of a file's matrices.
type quants struct {
	name      string
	mix, head tensor.Mix
	experts   tensor.DType // where experts are not of the mix
	apart     bool         // whether they are not
}

func (s ggufShape) quants(name string) (q quants, err error) {
	if name == "" {
		name = "q4_k_m"
		if s.arch == gptOSS {
			name = mxfp4
		}
	}
	q.name = strings.ToLower(name)
	if q.name == mxfp4 {
		if s.experts == 0 {
			return q, fmt.Errorf("got %s for %s, which has no experts, want one of %v", name, s.name, tensor.Mixes())
		}
		name, q.experts, q.apart = "q8_0", tensor.MXFP4, true
	}
	if q.mix, err = tensor.ParseMix(name); err != nil {
		return q, err
	}
	const some = tensor.SuperBlock
	if q.head = q.mix; q.mix.Type(tensor.Place{Cols: some}).RowBytes(some) < tensor.Q6_K.RowBytes(some) {
		q.head, err = tensor.ParseMix("q6_k")
	}
	return q, err
}

// matrix is the type of a matrix.
func (q quants) matrix(p tensor.Place) tensor.DType {
	if p.Role == tensor.HeadRole {
		return q.head.Type(p)
	}
	return q.mix.Type(p)
}

// expert is the type of a part of the experts.
func (q quants) expert(p tensor.Place) tensor.DType {
	if q.apart {
		return q.experts.OfRow(p.Cols)
	}
	return q.mix.Type(p)
}

// WriteGGUF makes a GGUF file with drawn weights and returns its size. The same options give the same bytes. Matrices are put together from
// pieces of 256 elements, of which 4096 are drawn for each type and deviation:
// rows differ, and writing takes the disk's time.
func WriteGGUF(ctx context.Context, path string, o GGUFOptions) (bytes int64, err error) {
	s, err := findGGUF(o.Shape)
	if err != nil {
		return 0, err
	}
	s.layers = cmp.Or(o.Layers, s.layers)
	defer func() {
		if err != nil {
			err = fmt.Errorf("synth: write %s: %w", path, err)
		}
	}()
	if s.layers < 1 || s.layers > config.MostLayers {
		return 0, fmt.Errorf("layers: got %d, want 1 to %d", s.layers, config.MostLayers)
	}
	return writeGGUF(ctx, path, s, o)
}

func writeGGUF(ctx context.Context, path string, s ggufShape, o GGUFOptions) (bytes int64, err error) {
	q, err := s.quants(o.Quant)
	if err != nil {
		return 0, err
	}
	list := s.tensors(q)
	h := &gguf.Header{}
	if h.Metadata, err = s.metadata(q.name); err != nil {
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
	w := &ggufWriter{
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
	mxfp4: 38,
}

// metadata are those of a file, with a byte-level tokenizer of the shape's size.
func (s ggufShape) metadata(quant string) (map[string]any, error) {
	m := map[string]any{
		"general.architecture":         s.arch,
		"general.name":                 "synthetic " + s.name,
		"general.type":                 "model",
		"general.file_type":            fileTypes[quant],
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
	case gptOSS:
		m["gpt-oss.attention.sliding_window"] = uint32(gptOSSWindow)
		m["gpt-oss.rope.scaling.type"] = "yarn"
		m["gpt-oss.rope.scaling.factor"] = float32(yarnFactor)
		m["gpt-oss.rope.scaling.original_context_length"] = uint32(yarnBefore)
	}
	if s.experts > 0 {
		m[s.arch+".expert_count"] = uint32(s.experts)
		m[s.arch+".expert_used_count"] = uint32(s.topK)
		m[s.arch+".expert_feed_forward_length"] = uint32(s.width)
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

// A rowDraw is how elements are drawn.
type rowDraw struct {
	mean, deviation float64
	// marked says that the first elements of a row, as many as the direction u has
	// coordinates, are all of the value head.
	marked bool
	head   float64
}

// A poolKey is what the pieces of a pool have in common.
type poolKey struct {
	dtype tensor.DType
	elems int
	rowDraw
}

type ggufWriter struct {
	ctx         context.Context
	o           GGUFOptions
	out         io.Writer
	done, total int64
	pools       map[poolKey][]byte
	latest      [2]struct { // the pools of the rows before: of what is not marked, and of what is
		key  poolKey
		pool []byte
	}
	normals *normalTable
	buf     []byte
}

func (w *ggufWriter) put(b []byte) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	n, err := w.out.Write(b)
	w.done += int64(n)
	return err
}

// tensor writes the tensor of number i.
func (w *ggufWriter) tensor(i int, t drawnTensor) error {
	s := newStream(w.o.Seed, i, 0)
	if t.values != nil {
		v := t.values(w.normals, s)
		b := make([]byte, t.dtype.RowBytes(len(v)))
		tensor.Encode(b, v, t.dtype)
		return w.put(b)
	}
	cols := int(t.shape[len(t.shape)-1])
	rows := 1
	for _, n := range t.shape[:len(t.shape)-1] {
		rows *= int(n)
	}
	elems := gcd(pieceElems, cols)
	w.buf = w.buf[:0]
	for row := range rows {
		draw := rowDraw{mean: t.mean, deviation: t.deviation}
		if t.row != nil {
			draw = t.row(row)
		}
		left := cols / elems
		if draw.marked {
			if err := w.pieces(w.poolOf(poolKey{t.dtype, elems, draw}), 1, &s, t.name); err != nil {
				return err
			}
			draw.marked, draw.head = false, 0
			left--
		}
		if err := w.pieces(w.poolOf(poolKey{t.dtype, elems, draw}), left, &s, t.name); err != nil {
			return err
		}
	}
	return w.flush(t.name)
}

// pieces writes n pieces of a pool.
func (w *ggufWriter) pieces(pool []byte, n int, s *stream, name string) error {
	size := len(pool) / poolPieces
	for range n {
		if len(w.buf)+size > cap(w.buf) {
			if err := w.flush(name); err != nil {
				return err
			}
		}
		at := int(s.next()>>52) * size // 12 bits
		w.buf = append(w.buf, pool[at:at+size]...)
	}
	return nil
}

// flush writes what is buffered.
func (w *ggufWriter) flush(name string) error {
	err := w.put(w.buf)
	w.buf = w.buf[:0]
	if w.o.Progress != nil {
		w.o.Progress(name, w.done, w.total)
	}
	return err
}

// poolOf is the pool of a key, which is mostly that of the row before.
func (w *ggufWriter) poolOf(k poolKey) []byte {
	latest := &w.latest[0]
	if k.marked {
		latest = &w.latest[1]
	}
	if k == latest.key && latest.pool != nil {
		return latest.pool
	}
	pool, ok := w.pools[k]
	if !ok {
		pool = w.pool(k)
		w.pools[k] = pool
	}
	latest.key, latest.pool = k, pool
	return pool
}

// pool draws the pieces of a key.
func (w *ggufWriter) pool(k poolKey) []byte {
	encode := tensor.Encode
	if k.dtype == tensor.MXFP4 {
		encode = encodeMXFP4
	}
	size := int(k.dtype.RowBytes(k.elems))
	pool := make([]byte, poolPieces*size)
	number := int(math.Float64bits(k.deviation)>>20) ^ int(math.Float64bits(k.head)>>20) ^ int(k.dtype)
	parallel.Spans(Options{Threads: w.o.Threads}.threads(), poolPieces, 64, func(from, to int) {
		v := make([]float32, k.elems)
		for i := from; i < to; i++ {
			s := newStream(w.o.Seed, number, i)
			w.normals.draw(v, &s, float32(k.deviation))
			for j := range v {
				v[j] += float32(k.mean)
			}
			if k.marked {
				for j := range marks {
					v[j] = float32(k.head)
				}
			}
			encode(pool[i*size:(i+1)*size], v, k.dtype)
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
