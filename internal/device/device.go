// Package device is the seam between the model and the processor that
// computes it: a Backend is one memory space and the operations on it.
//
// Activations are [tokens, n] float32; weights are rows of a stored type in
// the backend's memory. Every operation is whole except the sparse MLP, which
// is a partial sum over the neurons that a tier holds (Up, Down), so that
// several tiers can each compute what they have.
//
// Exactness: an operation splits its outputs between threads, never a sum, so
// that results do not depend on the number of threads, on how many tokens are
// computed together, or on the order in which neurons arrive.
package device

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Backend computes. Methods return when the result is there; one goroutine
// uses a Backend at a time.
type Backend interface {
	// Name is the backend and the instruction set it uses: "cpu/avx512".
	Name() string
	// Norm sets y to the normalised rows of x; y may be x.
	Norm(y, x Act, p NormParams)
	// Linear sets y to x W^T + b; b is [W.Rows] or nil.
	Linear(y, x Act, w Mat, b []float32)
	// Add adds x to y.
	Add(y, x Act)
	// Gate sets h to act(h) times up; without up, whose Data is nil, to act(h). Where
	// the activation clamps, up is what that makes of it.
	Gate(h, up Act, act config.Activation)
	// Clip sets x to what of it is nearest within -c to c; NaN stays.
	Clip(x Act, c float32)
	// Rotate turns the heads of x, each headDim elements, by the angles of their
	// tokens. A row of angles holds the cosines of the pairs that turn, then as many
	// sines. Pair i is the elements 2i and 2i+1 of a head if interleaved, else i and
	// i + the number of pairs; elements beyond stay.
	Rotate(x, angles Act, headDim int, interleaved bool)
	// SoftCap sets x to c tanh(x/c).
	SoftCap(x Act, c float32)
	// StoreKV stores the keys and values of the spans' tokens in their layer of
	// the cache; k and v are [tokens, kv head x head dim].
	StoreKV(c *kv.Cache, layer int, spans []Span, k, v Act)
	// Attend sets y to the causal attention of the queries q over all tokens
	// that the spans' sequences hold up to each query's own.
	Attend(y, q Act, c *kv.Cache, layer int, spans []Span, p AttendParams)
	// Sketch sets y [tokens, ffn] to the sketch's estimate of x W^T + b.
	Sketch(y, x Act, w SketchMat)
	// Up sets the rows of h that sel names: h[i] [tokens] is the activation
	// of the i-th neuron of w for every token that wants it, else 0. In a neuron
	// of three parts that is the function of the first part's product times the
	// second part's. The second is not read, and the activation is exactly 0,
	// where w skips zeros and the function gives none but zeros.
	Up(h []float32, x Act, s Slots, w Work, sel []int32)
	// Down adds to y each neuron's last part times h, neurons in w's order.
	Down(y Act, h []float32, s Slots, w Work)
	// Experts sets the rows First[i] to First[i+1]-1 of y, [pairs, d], to what the
	// experts that sel names, by their places in w, make of their tokens' rows of x:
	// down(act(gate x) times up x), biases included, unweighted. A row has the same bits
	// whatever is computed with it.
	Experts(y, x Act, w *ExpertWork, sel []int32)
	// Combine adds to each row t of y, in ascending j, weights[t*k+j] times row
	// rows[t*k+j] of out, none where that is -1.
	Combine(y, out Act, rows []int32, weights []float32, k int)
	// Overlap has f run once, by the next operation that threads share: on the
	// caller's thread, while the others compute. Where they share none, f runs
	// within a few; where there is one thread, before the next. A Backend that is
	// closed runs it no more.
	Overlap(f func())
	// Close ends the backend's threads.
	Close()
}

// Act is activations: Rows rows of Cols elements, Stride elements apart.
type Act struct {
	Data               []float32
	Rows, Cols, Stride int
}

// NewAct is a zero [rows, cols] Act.
func NewAct(rows, cols int) Act {
	return Act{Data: make([]float32, rows*cols), Rows: rows, Cols: cols, Stride: cols}
}

// Row is the i-th row.
func (a Act) Row(i int) []float32 { return a.Data[i*a.Stride:][:a.Cols:a.Cols] }

// Top is the first rows rows of a.
func (a Act) Top(rows int) Act { return a.Rowspan(0, rows) }

// Rowspan is n rows of a from row i on.
func (a Act) Rowspan(i, n int) Act {
	a.Data, a.Rows = a.Data[i*a.Stride:], n
	return a
}

// Split is a, whose rows follow one another, with each row cut into rows of cols
// elements.
func (a Act) Split(cols int) Act {
	return Act{Data: a.Data, Rows: a.Rows * (a.Cols / cols), Cols: cols, Stride: cols}
}

// Colspan is n columns of a from column j on.
func (a Act) Colspan(j, n int) Act {
	a.Data, a.Cols = a.Data[j:], n
	return a
}

// Mat is a weight matrix: Rows contiguous rows of Cols elements.
type Mat struct {
	Data       []byte
	DType      tensor.DType
	Rows, Cols int
	// Fine says that activations are not to be rounded to 8 bits but to 16 at
	// least, where they are rounded.
	Fine bool
}

// NormParams is one normalisation layer.
type NormParams struct {
	Kind         config.NormKind
	Eps          float32
	Weight, Bias []float32 // [cols], nil where the layer has none
}

// AttendParams is the shape of an attention layer.
type AttendParams struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32 // of the scores, before softmax
	SoftCap                 float32 // c: scaled scores s become c tanh(s/c); 0: they stay
	Window                  int     // a query sees so many tokens, its own included; 0: all up to its own
	// Sinks are scores that join each head's softmax and bring no value, [Heads] or
	// nil.
	Sinks []float32
}

// Span is a run of tokens of one batch: N consecutive positions of Seq from
// Pos on. Spans follow one another in the rows of an Act.
type Span struct {
	Seq    *kv.Seq
	Pos, N int
}

// SketchMat is a sketch of [Rows, Cols] weights: Codes has one row of unsigned
// codes per weight row. Those of 4 bits lie in the layout of
// kernel.Set.DotU4S8, and u of row i stands for (u-8) Scales[i]. Those of 3 bits
// lie in that of kernel.Set.DotU3S8, and u stands for (u-3.5) Scales[i].
type SketchMat struct {
	Codes      []byte // [Rows, RowBytes]
	Bits       int    // of a code: 3 or, as 0 is too, 4
	Scales     []float32
	Bias       []float32 // [Rows] or nil
	RowBytes   int
	Rows, Cols int
}

// Slots is fixed places for bundles, all of one size. A bundle is Parts
// vectors of Cols elements, one after the other; or, where PartStride is not 0, the
// parts of all bundles lie apart, so that a pass over one part of many neurons
// reads memory in order.
type Slots struct {
	Data       []byte // [slot, Stride], or [part, slot, Stride]
	Stride     int64
	DType      tensor.DType
	Cols       int // d
	Parts      int
	PartStride int64 // distance of a bundle's parts; 0: they follow each other
	First      int32 // number of the first slot in Data
	// ColBlocks, if more than one, is how many blocks of as many columns the
	// vectors of the last part are in. A block of all of them lies together:
	// [block, slot, Cols/ColBlocks].
	ColBlocks int
	// Interleaved says that within a block slots go to Streams runs of memory in
	// turn, [block, stream, slot/Streams, Cols/ColBlocks].
	Interleaved bool
}

// Streams is how many runs of memory slots are interleaved over: as many neurons
// as an addition to the output takes at a time, so that each is read in order.
const Streams = 4

// Bundle is all Stride bytes of a slot, of slots whose PartStride is 0.
func (s Slots) Bundle(slot int32) []byte {
	at := int64(slot-s.First) * s.Stride
	return s.Data[at : at+s.Stride : at+s.Stride]
}

// Vec is one vector of a slot's bundle: part 0 makes the activation, the last
// part, if it is in one block of columns, the output.
func (s Slots) Vec(slot int32, part int) []byte {
	n := s.DType.RowBytes(s.Cols)
	parts := s.PartStride
	if parts == 0 {
		parts = n
	}
	at := int64(slot-s.First)*s.Stride + int64(part)*parts
	return s.Data[at : at+n : at+n]
}

// BlockCols is how many columns a block of the last part has.
func (s Slots) BlockCols() int { return s.Cols / max(1, s.ColBlocks) }

// Columns is the bytes b0 to b1 of the last part, all of one block.
func (s Slots) Columns(b0, b1 int64) Columns {
	row := s.DType.RowBytes(s.Cols)
	if s.PartStride == 0 {
		return Columns{data: s.Data, first: s.First, stride: s.Stride, at: int64(s.Parts-1)*row + b0, n: b1 - b0}
	}
	block := s.DType.RowBytes(s.BlockCols())
	k, all := b0/block, s.PartStride/(row/block) // of all slots
	c := Columns{data: s.Data, first: s.First, stride: s.Stride / (row / block), at: int64(s.Parts-1)*s.PartStride + k*all + b0 - k*block, n: b1 - b0}
	if s.Interleaved {
		c.stream = all / Streams
	}
	return c
}

// Columns is some columns of the vectors that make the output.
type Columns struct {
	data          []byte
	first         int32
	stride, at, n int64
	stream        int64 // distance of the streams, 0: slots are not interleaved
}

// Of is the columns of a slot.
func (c *Columns) Of(slot int32) []byte {
	i, at := int64(slot-c.first), c.at
	if c.stream != 0 {
		at += i % Streams * c.stream
		i /= Streams
	}
	at += i * c.stride
	return c.data[at : at+c.n : at+c.n]
}

// Work is some neurons of one layer and where their bundles are.
type Work struct {
	IDs   []int32 // neuron ids, ascending
	Slots []int32 // [len(IDs)] the slot of each
	// Wants says which tokens want which neuron: bit t of the words
	// Wants[i*WantWords:] is token t of the i-th neuron. Nil: all want all.
	Wants     []uint64
	WantWords int
	Bias      []float32 // [ffn] of the first part, or nil
	// SecondBias is [ffn] of the second of three parts, or nil.
	SecondBias []float32
	Act        config.Activation
	Threshold  float32 // of FATReLU
	SkipZero   bool    // what only multiplies with exact zeros is left out
	// SameInput says that the x of Up is what it was at the latest Up, so that
	// what was made of it then, if anything, still serves.
	SameInput bool
}

// Wanted reports whether token t wants the i-th neuron.
func (w *Work) Wanted(i, t int) bool {
	return w.Wants == nil || w.Wants[i*w.WantWords+t>>6]>>(t&63)&1 != 0
}
