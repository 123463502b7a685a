package kernel

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Rows is the kernels over weight rows of one stored type. All fields are set
// but those that say otherwise.
//
// In every function w is one weight row in bytes and len(w) rules: the other
// slices hold at least as many elements, and what lies beyond is neither read
// nor written. That is the caller's contract. Outputs may not overlap inputs.
// Where next is a parameter it is the row whose cache lines to prefetch, or nil;
// see "Prefetch" in the package documentation.
//
// An activation row x is float32 elements for rows of floats, records of
// [Set.QuantizeX] for Q8_0 and Q4_0, of [Set.RoundX] for [Set.Blocks].
type Rows struct {
	// Dot returns the dot product of w and x, summed in the order that the
	// package documentation states.
	Dot func(w, x []byte, next *byte) float32
	// Dot4 returns the dot products of w with four activation rows, which
	// start stride bytes apart; stride is not negative. It reads w from memory
	// once. Each result has the bits that Dot gives.
	Dot4 func(w, x []byte, stride int, next *byte) [4]float32
	// MatVec sets y to the dot products with x of as many rows w of rowBytes
	// bytes, one after the other in memory. Each has the bits that Dot gives. It
	// asks for what lies ahead bytes further than what it reads.
	MatVec func(y []float32, w []byte, rowBytes int, x []byte, ahead int)
	// Fine sets y to the sums of the dot products of as many rows with x and with what
	// is stride bytes further, which has what rounding left of x. It is otherwise MatVec.
	// Nil where Dot twice is as fast.
	Fine func(y []float32, w []byte, rowBytes int, x []byte, stride, ahead int)
	// Axpy adds a*w to y. Each element is one fused multiply-add: of a and the
	// element, or of a code and its block's scale times a.
	Axpy func(y []float32, a float32, w []byte, next *byte)
	// Axpy4 adds to y, for one after the other of four rows w of the length of
	// the first, what Axpy does. next is the rows whose cache lines to prefetch.
	Axpy4 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)

	// Widen writes a quantised row w, for whose length QuantTiles holds, to dst,
	// WideBytes long, in a form of the set's own that Tile takes. A row is then
	// unpacked once for all tokens. Nil for floats.
	Widen func(dst, w []byte, next *byte)
	// Tile sets out [QuantRows, QuantTokens] to the dot products of the widened
	// rows w, all of the length of the first, with 1 to QuantTokens activation
	// rows whose records start stride bytes apart. Each has the bits that Dot
	// gives. Nil for floats.
	Tile func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride, tokens int)
	// Pairs takes a quantised row w apart for Set.OuterPairs: of each block, 16
	// words of codes, whose i-th has elements i and 16+i as bfloat16 in its lower
	// and upper half, and the scale. Nil for floats.
	Pairs func(codes []uint32, scales []float32, w []byte, next *byte)

	// Gemm multiplies many rows of blocks with many tokens, nil where Dot4 does.
	Gemm *Gemm
	// Fours says that Dot4 is less work than Dot of three rows of activations.
	Fours bool

	two func(y, y2 []float32, w, w2 []byte, rowBytes int, x []byte, ahead int) // MatVec2, nil where MatVec twice is as fast
}

// MatVec2 is MatVec for len(y) rows of each of two matrices, whose products go to y and
// y2. Slices of rows may go on beyond them.
func (k *Rows) MatVec2(y, y2 []float32, w, w2 []byte, rowBytes int, x []byte, ahead int) {
	if k.two != nil {
		k.two(y, y2, w, w2, rowBytes, x, ahead)
		return
	}
	k.MatVec(y, w[:len(y)*rowBytes], rowBytes, x, ahead)
	k.MatVec(y2[:len(y)], w2[:len(y)*rowBytes], rowBytes, x, ahead)
}

// Rows is the kernels over rows of type dt, nil where there are none.
func (s *Set) Rows(dt tensor.DType) *Rows {
	switch dt {
	case tensor.F32:
		return &s.F32
	case tensor.F16:
		return &s.F16
	case tensor.BF16:
		return &s.BF16
	case tensor.Q8_0:
		return &s.Q8
	case tensor.Q4_0:
		return &s.Q4
	}
	return s.Blocks[dt]
}

// DotF32 is the dot product of rows of float32.
func (s *Set) DotF32(w, x []float32, next *float32) float32 {
	return s.F32.Dot(Bytes(w), Bytes(x), (*byte)(unsafe.Pointer(next)))
}

// Dot4F32 is the dot products of w with four rows of x, stride elements apart.
func (s *Set) Dot4F32(w, x []float32, stride int, next *float32) [4]float32 {
	return s.F32.Dot4(Bytes(w), Bytes(x), 4*stride, (*byte)(unsafe.Pointer(next)))
}

// AxpyF32 adds a*w to y.
func (s *Set) AxpyF32(y []float32, a float32, w []float32, next *float32) {
	s.F32.Axpy(y, a, Bytes(w), (*byte)(unsafe.Pointer(next)))
}

// Bytes is v's memory.
func Bytes[T float32 | uint16](v []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

// Elements is b as elements, which begin at a multiple of their size.
func Elements[T ~float32 | ~uint16](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// dot4 makes a Dot4 of a Dot.
func dot4(dot func(w, x []byte, next *byte) float32) func(w, x []byte, stride int, next *byte) [4]float32 {
	return func(w, x []byte, stride int, next *byte) (sums [4]float32) {
		for i := range sums {
			sums[i] = dot(w, x[i*stride:], next)
		}
		return sums
	}
}

// matVec makes a MatVec of a Dot.
func matVec(dot func(w, x []byte, next *byte) float32) func(y []float32, w []byte, rowBytes int, x []byte, ahead int) {
	return func(y []float32, w []byte, rowBytes int, x []byte, _ int) {
		for i := range y {
			y[i] = dot(w[i*rowBytes:(i+1)*rowBytes], x, nil)
		}
	}
}

// axpy4 makes an Axpy4 of an Axpy.
func axpy4(axpy func(y []float32, a float32, w []byte, next *byte)) func([]float32, *[4]float32, *[4][]byte, *[4]*byte) {
	return func(y []float32, a *[4]float32, w *[4][]byte, _ *[4]*byte) {
		for i := range w {
			axpy(y, a[i], w[i][:len(w[0])], nil)
		}
	}
}
