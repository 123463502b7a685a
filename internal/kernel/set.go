package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Set is one family of kernels for one instruction set. All fields are set.
//
// In every function w is one weight row and len(w) rules: the other slices
// are at least as long, and what lies beyond is neither read nor written.
// That is the caller's contract. Outputs may not overlap inputs. Where next
// is a parameter it is the row whose cache lines to prefetch, or nil; see
// "Prefetch" in the package documentation.
type Set struct {
	// Name is "go", "avx2", "avx512", or "avx512-wide", which is avx512 with
	// single rows of floats and single queries in registers of 512 bits too.
	Name string

	// DotF32 returns the dot product of w and x, summed in the order that
	// the package documentation states.
	DotF32 func(w, x []float32, next *float32) float32
	// DotF16 is DotF32 for float16 weights.
	DotF16 func(w []uint16, x []float32, next *uint16) float32
	// DotBF16 is DotF32 for bfloat16 weights.
	DotBF16 func(w []uint16, x []float32, next *uint16) float32

	// Dot4F32 returns the dot products of w with four activation rows, which
	// start at x[0], x[stride], x[2*stride] and x[3*stride]; len(x) is at
	// least 3*stride + len(w), and stride is not negative. It reads w from
	// memory once. Each result has the bits that DotF32 gives.
	Dot4F32 func(w, x []float32, stride int, next *float32) [4]float32
	// Dot4F16 is Dot4F32 for float16 weights.
	Dot4F16 func(w []uint16, x []float32, stride int, next *uint16) [4]float32
	// Dot4BF16 is Dot4F32 for bfloat16 weights.
	Dot4BF16 func(w []uint16, x []float32, stride int, next *uint16) [4]float32

	// MatVecF32 sets y to the dot products with x of as many rows w, each of
	// len(x) elements, one after the other in memory. Each has the bits that
	// DotF32 gives.
	MatVecF32 func(y, w, x []float32)
	// MatVecF16 is MatVecF32 for float16 weights.
	MatVecF16 func(y []float32, w []uint16, x []float32)
	// MatVecBF16 is MatVecF32 for bfloat16 weights.
	MatVecBF16 func(y []float32, w []uint16, x []float32)

	// PanelRow writes x into a panel for tiles as its row j, from 0 to
	// TileTokens-1. len(x) is what the weight rows have, and len(panel) at
	// least TileTokens times that. A panel holds the rows in groups of 16
	// elements, group by group of all rows, first the groups 0, 4, 8, ..., then
	// 1, 5, ..., and so on; after these the last len(x)%16 elements, one of
	// each row at a time.
	PanelRow func(panel []float32, j int, x []float32)
	// TileF32 sets out [TileRows, TileTokens] to the dot products of the rows
	// w, all of the length of the first, with the rows of a panel. Each has the
	// bits that DotF32 gives.
	TileF32 func(out *[TileRows * TileTokens]float32, w *[TileRows][]float32, panel []float32)
	// TileF16 is TileF32 for float16 weights.
	TileF16 func(out *[TileRows * TileTokens]float32, w *[TileRows][]uint16, panel []float32)
	// TileBF16 is TileF32 for bfloat16 weights.
	TileBF16 func(out *[TileRows * TileTokens]float32, w *[TileRows][]uint16, panel []float32)
	// RowsF32 sets out to the dot products of the rows w, all of the length of
	// the first, with x. Each has the bits that DotF32 gives.
	RowsF32 func(out *[TileRows]float32, w *[TileRows][]float32, x []float32)
	// RowsF16 is RowsF32 for float16 weights.
	RowsF16 func(out *[TileRows]float32, w *[TileRows][]uint16, x []float32)
	// RowsBF16 is RowsF32 for bfloat16 weights.
	RowsBF16 func(out *[TileRows]float32, w *[TileRows][]uint16, x []float32)
	// Outer adds to TileTokens rows of y, stride apart, OuterCols elements
	// each: to row j the sum of h[i*hStride+j] times the i-th OuterCols
	// elements of w, in ascending i, element by element the fused multiply-adds
	// that AxpyF32 does. len(w) is a multiple of OuterCols; h has TileTokens
	// elements for each, from i*hStride on.
	Outer func(y []float32, stride int, h []float32, hStride int, w []float32)
	// OuterAt adds to OuterCols elements of y the sum of h[i] times row rows[i]
	// of w, OuterCols elements each, in the way of Outer. len(rows) rules.
	OuterAt func(y []float32, h []float32, rows []int32, w []float32)

	// AxpyF32 adds a*w to y, each element by one fused multiply-add.
	AxpyF32 func(y []float32, a float32, w []float32, next *float32)
	// AxpyF16 is AxpyF32 for float16 weights.
	AxpyF16 func(y []float32, a float32, w []uint16, next *uint16)
	// AxpyBF16 is AxpyF32 for bfloat16 weights.
	AxpyBF16 func(y []float32, a float32, w []uint16, next *uint16)
	// Axpy4F32 adds to y, for one after the other of four rows w of the length
	// of the first, in bytes, what AxpyF32 does. next is the rows whose cache
	// lines to prefetch.
	Axpy4F32 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)
	// Axpy4F16 is Axpy4F32 for float16 weights.
	Axpy4F16 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)
	// Axpy4BF16 is Axpy4F32 for bfloat16 weights.
	Axpy4BF16 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)

	// DotU4S8 returns the exact sum of u*x over a sketch row of 4-bit
	// unsigned elements u. A row is whole blocks of 32 bytes, 64 elements
	// each: in byte j of a block the low nibble is element j and the high
	// nibble element 32+j. Bytes after the last whole block count for
	// nothing. x has two elements a byte of w, each from -127 to 127; a row
	// may have up to a million elements before the sum could overflow. Where
	// u stands for u-8 the caller subtracts 8 times the sum of x.
	DotU4S8 func(w []byte, x []int8) int32
	// Dot4U4S8 is DotU4S8 with four x, which start stride elements apart.
	Dot4U4S8 func(w []byte, x []int8, stride int) [4]int32
	// DotPlanesS8[b-1] is DotU4S8 for codes of b bits, 1 to 3, that lie as
	// PackPlanes writes them: whole blocks of 256 elements, 32 bytes a bit.
	DotPlanesS8 [MostPlanes]func(w []byte, x []int8) int32
	// Dot4PlanesS8 is DotPlanesS8 with four x, which start stride elements
	// apart.
	Dot4PlanesS8 [MostPlanes]func(w []byte, x []int8, stride int) [4]int32
	// QuantizeS8 rounds x to 8 bits: dst[k] is x[k]*(127/m), half to even,
	// where m is the largest |x[k]|. It returns scale = m/127, so that x[k]
	// is about scale*dst[k], and the sum of dst. A vector of zeros, or of
	// magnitudes so small that 127/m overflows (below 3.8e-37), gives zeros
	// and scale 0. With infinity or NaN in x it gives zeros and scale NaN.
	// len(x) rules.
	QuantizeS8 func(dst []int8, x []float32) (scale float32, sum int32)

	// QuantizeX rounds activations to 8 bits in blocks of 32, for DotQ8 and
	// DotQ4: a code is x*(127/m), half to even, and stands for code*(m/127),
	// where m is the block's largest magnitude. A block of zeros, or of
	// magnitudes so small that 127/m overflows, gives zeros and scale 0. With
	// infinity or NaN in it it gives zeros and scale NaN. zero is ZeroQ8 or
	// ZeroQ4, for what the row is to be multiplied with.
	//
	// len(x), a multiple of 32, rules. dst is one record of 256 bytes for each
	// four blocks, see QuantXBytes; the places of missing blocks are zeros.
	// Block b of a record has 16 bytes in each of its four parts: the codes
	// of its elements 0 to 15 at 16b, those of 16 to 31 at 64+16b; at 128+16b
	// four int32 of which the j-th is zero times the sum of codes 4j to 4j+3
	// and 16+4j to 16+4j+3; at 192+16b its scale, four times in float32.
	QuantizeX func(dst []byte, x []float32, zero int32)
	// DotQ8 returns the dot product of a row w of Q8_0 blocks (package
	// tensor) with the records x of QuantizeX by ZeroQ8, summed as the
	// package documentation states under "Quantised rows".
	DotQ8 func(w, x []byte, next *byte) float32
	// DotQ4 is DotQ8 for Q4_0 blocks and records by ZeroQ4.
	DotQ4 func(w, x []byte, next *byte) float32
	// Dot4Q8 is DotQ8 with four activation rows whose records start stride
	// bytes apart. It reads w from memory once, and each result has the bits
	// that DotQ8 gives.
	Dot4Q8 func(w, x []byte, stride int, next *byte) [4]float32
	// Dot4Q4 is Dot4Q8 for Q4_0 blocks.
	Dot4Q4 func(w, x []byte, stride int, next *byte) [4]float32
	// MatVecQ8 sets y to the products that DotQ8 gives of as many rows w of
	// rowBytes bytes, one after the other in memory, with the records x.
	MatVecQ8 func(y []float32, w []byte, rowBytes int, x []byte)
	// MatVecQ4 is MatVecQ8 for Q4_0 blocks.
	MatVecQ4 func(y []float32, w []byte, rowBytes int, x []byte)
	// WidenQ8 writes a row w of Q8_0 blocks, for whose length QuantTiles holds,
	// to dst, WideBytes long, in a form of the set's own that TileQ8 and RowsQ8
	// take: a row is unpacked once for all tokens.
	WidenQ8 func(dst, w []byte, next *byte)
	// WidenQ4 is WidenQ8 for Q4_0 blocks, TileQ4 and RowsQ4.
	WidenQ4 func(dst, w []byte, next *byte)
	// TileQ8 sets out [QuantRows, QuantTokens] to the dot products of the
	// widened rows w, all of the length of the first, with activation rows whose
	// records start stride bytes apart. Each has the bits that DotQ8 gives.
	TileQ8 func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride int)
	// TileQ4 is TileQ8 for Q4_0 blocks.
	TileQ4 func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride int)
	// RowsQ8 sets out to the dot products of the widened rows w, all of the
	// length of the first, with the records x. Each has the bits that DotQ8
	// gives.
	RowsQ8 func(out *[QuantRows]float32, w *[QuantRows][]byte, x []byte)
	// RowsQ4 is RowsQ8 for Q4_0 blocks.
	RowsQ4 func(out *[QuantRows]float32, w *[QuantRows][]byte, x []byte)
	// AxpyQ8 adds a*w, w a row of Q8_0 blocks, to y: each element is one fused
	// multiply-add of its code and the block's scale times a.
	AxpyQ8 func(y []float32, a float32, w []byte, next *byte)
	// AxpyQ4 is AxpyQ8 for Q4_0 blocks.
	AxpyQ4 func(y []float32, a float32, w []byte, next *byte)
	// Axpy4Q8 is to AxpyQ8 what Axpy4F32 is to AxpyF32.
	Axpy4Q8 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)
	// Axpy4Q4 is Axpy4Q8 for Q4_0 blocks.
	Axpy4Q4 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)
	// PairsQ8 takes a row w of Q8_0 blocks apart: of each block, 16 words of
	// codes, whose i-th has elements i and 16+i as bfloat16 in its lower and
	// upper half, and the scale. len(w) rules.
	PairsQ8 func(codes []uint32, scales []float32, w []byte, next *byte)
	// PairsQ4 is PairsQ8 for Q4_0 blocks.
	PairsQ4 func(codes []uint32, scales []float32, w []byte, next *byte)
	// OuterPairs adds to OuterCols elements of y the sum of h[i] times row
	// rows[i] of OuterCols elements each, taken apart, in ascending i, in the
	// way of AxpyQ8 and AxpyQ4. len(rows) rules. next is where the y of the next
	// call begins, or any address.
	OuterPairs func(y []float32, h []float32, rows []int32, codes []uint32, scales []float32, next *float32)

	// DecodeF16 converts src to float32; len(src) rules.
	DecodeF16 func(dst []float32, src []uint16)
	// DecodeBF16 converts src to float32; len(src) rules.
	DecodeBF16 func(dst []float32, src []uint16)
	// EncodeF16 converts src to float16; len(src) rules.
	EncodeF16 func(dst []uint16, src []float32)
	// EncodeBF16 converts src to bfloat16; len(src) rules.
	EncodeBF16 func(dst []uint16, src []float32)

	// Load returns the sum, modulo 2^64, of b as little-endian 64-bit words,
	// the last one padded with zeros. It is the probe for the memory
	// bandwidth that the other kernels are measured against: it does nothing
	// else with what it loads.
	Load func(b []byte) uint64
	// LoadNext is Load that meanwhile asks for what lies at next, where as many
	// bytes are loaded soon, as the kernels above do; nil: what follows b.
	LoadNext func(b []byte, next *byte) uint64

	// Attention is the kernels over pages of keys and values.
	Attention Attention
}

// Go returns the plain-Go twins, the oracle of every other set.
func Go() Set {
	return Set{
		Name:       "go",
		DotF32:     dotF32,
		DotF16:     dotF16,
		DotBF16:    dotBF16,
		Dot4F32:    dot4F32,
		Dot4F16:    dot4F16,
		Dot4BF16:   dot4BF16,
		MatVecF32:  matVec(dotF32),
		MatVecF16:  matVec(dotF16),
		MatVecBF16: matVec(dotBF16),
		PanelRow:   panelRow,
		TileF32:    tileF32,
		TileF16:    tileF16,
		TileBF16:   tileBF16,
		RowsF32:    rowsOf(dotF32),
		RowsF16:    rowsOf(dotF16),
		RowsBF16:   rowsOf(dotBF16),
		Outer:      outer,
		OuterAt:    outerAt,
		AxpyF32:    axpyF32,
		AxpyF16:    axpyF16,
		AxpyBF16:   axpyBF16,
		Axpy4F32:   axpy4(4, func(w []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(w)) }),
		Axpy4F16:   axpy4(2, func(w []byte) float32 { return tensor.F16ToF32(binary.LittleEndian.Uint16(w)) }),
		Axpy4BF16:  axpy4(2, func(w []byte) float32 { return tensor.BF16ToF32(binary.LittleEndian.Uint16(w)) }),
		DotU4S8:    dotU4S8,
		Dot4U4S8:   fourSketches(dotU4S8),
		QuantizeS8: quantizer(absMaxBits, roundS8),
		QuantizeX:  quantizeXBy(quantizeBlocks),
		DotQ8:      dotQ8,
		DotQ4:      dotQ4,
		Dot4Q8:     dot4Q8,
		Dot4Q4:     dot4Q4,
		WidenQ8:    unwidened,
		WidenQ4:    unwidened,
		TileQ8:     quantTile(q8Bytes, dot4Q8),
		TileQ4:     quantTile(q4Bytes, dot4Q4),
		RowsQ8:     quantRows(q8Bytes, dotQ8),
		RowsQ4:     quantRows(q4Bytes, dotQ4),
		AxpyQ8:     axpyQ8,
		AxpyQ4:     axpyQ4,
		PairsQ8:    pairsQ8,
		PairsQ4:    pairsQ4,
		OuterPairs: outerPairs,
		MatVecQ8:   matVecQuant(dotQ8),
		MatVecQ4:   matVecQuant(dotQ4),
		Axpy4Q8:    axpy4Quant(axpyQ8),
		Axpy4Q4:    axpy4Quant(axpyQ4),
		DecodeF16:  decodeF16,
		DecodeBF16: decodeBF16,
		EncodeF16:  encodeF16,
		EncodeBF16: encodeBF16,
		Load:       load,
		LoadNext:   func(b []byte, _ *byte) uint64 { return load(b) },
		Attention:  goAttention(),

		DotPlanesS8:  planesOf(dotPlanes),
		Dot4PlanesS8: fourPlanes(planesOf(dotPlanes)),
	}
}

// Best returns the fastest set that this machine can run.
func Best() Set {
	all := All()
	return all[len(all)-1]
}
