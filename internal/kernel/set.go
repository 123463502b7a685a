package kernel

import "github.com/sparseflow/sparseflow/internal/tensor"

// Set is one family of kernels for one instruction set. All fields are set but
// those that say otherwise.
// What [Rows] says of slices holds for every function here.
type Set struct {
	// Name is "go", "avx2", "avx512", or "avx512-rows", which is avx512 with
	// single rows of floats in registers of 512 bits too.
	Name string
	// Ahead is the distance in bytes at which this processor is best asked for
	// memory that is read in order; see Rows.MatVec.
	Ahead int

	// The kernels over weight rows, by the type of these.
	F32, F16, BF16, Q8, Q4 Rows
	// Blocks is those over rows of GGUF's other blocks, as far as there are any:
	// Dot, Dot4 and MatVec. Their activations are records of RoundX.
	Blocks map[tensor.DType]*Rows

	// PanelRow writes x into a panel for tiles as its row j, from 0 to
	// TileTokens-1. len(x) is what the weight rows have, and len(panel) at
	// least TileTokens times that. A panel holds the rows in runs of 16
	// elements, run by run of all rows, first the runs 0, 4, 8, ..., then
	// 1, 5, ..., and so on; after these the last len(x)%16 elements, one of
	// each row at a time.
	PanelRow func(panel []float32, j int, x []float32)
	// TileF32 sets out [TileRows, TileTokens] to the dot products of the rows
	// w, all of the length of the first, with the rows of a panel. Each has the
	// bits that Dot gives. Rows of 16 bits are converted first, which is exact.
	TileF32 func(out *[TileRows * TileTokens]float32, w *[TileRows][]float32, panel []float32)
	// TileF16 is TileF32 for float16 rows, nil where converting them is as fast.
	TileF16 func(out *[TileRows * TileTokens]float32, w *[TileRows][]uint16, panel []float32)
	// RowsF32 sets out to the dot products of the rows w, all of the length of
	// the first, with x. Each has the bits that Dot gives.
	RowsF32 func(out *[TileRows]float32, w *[TileRows][]float32, x []float32)
	// Outer adds to TileTokens rows of y, stride apart, OuterCols elements
	// each: to row j the sum of h[i*hStride+j] times the i-th OuterCols
	// elements of w, in ascending i, element by element the fused multiply-adds
	// that Axpy does. len(w) is a multiple of OuterCols; h has TileTokens
	// elements for each, from i*hStride on.
	Outer func(y []float32, stride int, h []float32, hStride int, w []float32)
	// OuterAt adds to OuterCols elements of y the sum of h[i] times row rows[i]
	// of w, OuterCols elements each, in the way of Outer. len(rows) rules.
	OuterAt func(y []float32, h []float32, rows []int32, w []float32)
	// OuterPairs adds to OuterCols elements of y the sum of h[i] times row
	// rows[i] of OuterCols elements each, which Rows.Pairs took apart, in
	// ascending i, in the way of Axpy. len(rows) rules. next is where the y of
	// the next call begins, or any address.
	OuterPairs func(y []float32, h []float32, rows []int32, codes []uint32, scales []float32, next *float32)

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
	// DotU3S8 is DotU4S8 for codes of 3 bits that lie as PackSketch3 writes
	// them: whole blocks of 96 bytes, 256 elements each.
	DotU3S8 func(w []byte, x []int8) int32
	// Dot4U3S8 is DotU3S8 with four x, which start stride elements apart.
	Dot4U3S8 func(w []byte, x []int8, stride int) [4]int32
	// QuantizeS8 rounds x to 8 bits: dst[k] is x[k]*(127/m), half to even,
	// where m is the largest |x[k]|. It returns scale = m/127, so that x[k]
	// is about scale*dst[k], and the sum of dst. A vector of zeros, or of
	// magnitudes so small that 127/m overflows (below 3.8e-37), gives zeros
	// and scale 0. With infinity or NaN in x it gives zeros and scale NaN.
	// len(x) rules.
	QuantizeS8 func(dst []int8, x []float32) (scale float32, sum int32)

	// QuantizeX rounds activations to 8 bits in blocks of 32, for Q8 and Q4: a
	// code is x*(127/m), half to even, and stands for code*(m/127), where m is
	// the block's largest magnitude. A block of zeros, or of magnitudes so small
	// that 127/m overflows, gives zeros and scale 0. With infinity or NaN in it
	// it gives zeros and scale NaN. zero is ZeroQ8 or ZeroQ4, for what the row is
	// to be multiplied with.
	//
	// len(x), a multiple of 32, rules. dst is one record of 256 bytes for each
	// four blocks, see QuantXBytes; the places of missing blocks are zeros.
	// Block b of a record has 16 bytes in each of its four parts: the codes
	// of its elements 0 to 15 at 16b, those of 16 to 31 at 64+16b; at 128+16b
	// four int32 of which the j-th is zero times the sum of codes 4j to 4j+3
	// and 16+4j to 16+4j+3; at 192+16b its scale, four times in float32.
	QuantizeX func(dst []byte, x []float32, zero int32)

	// RoundX rounds activations as QuantizeX does, for Blocks. dst is one record of
	// 704 bytes for each sixteen blocks, see RoundXBytes; the places of missing blocks
	// are zeros. Of block b, the codes of elements 0 to 15 are at 128(b mod 4)+16(b/4)
	// and the others 64 bytes further; at 512+4b is its scale, at 576+4b are two int16,
	// the sums of the codes of either half, and at 640+4b is their sum times the scale.
	RoundX func(dst []byte, x []float32)

	// Swish sets each element x of h to x times the sigmoid of x(linear+cubic*x*x) and,
	// where up is not empty, times its element of that: within 3 units in the last
	// place for each 1 that the sigmoid's argument has, and 0 from -86 of it down. So
	// (1, 0) is SiLU, (1.702, 0) QuickGELU and
	// (GELULinear, GELUCubic) GELU by tanh.
	Swish func(h, up []float32, linear, cubic float32)

	// DecodeF16 converts src to float32; len(src) rules.
	DecodeF16 func(dst []float32, src []uint16)
	// DecodeBF16 converts src to float32; len(src) rules.
	DecodeBF16 func(dst []float32, src []uint16)
	// EncodeF16 converts src to float16; len(src) rules.
	EncodeF16 func(dst []uint16, src []float32)

	// Load returns the sum, modulo 2^64, of b as little-endian 64-bit words,
	// the last one padded with zeros. It measures the memory bandwidth that the
	// other kernels are held against: it does nothing else with what it loads, and
	// prefetches as they do.
	Load func(b []byte, next *byte) uint64

	// Attention is the kernels over pages of keys and values.
	Attention Attention
}

// Go returns the plain-Go twins, the oracle of every other set.
func Go() Set {
	return Set{
		Name: "go", Ahead: 8 << 10,
		F32: floatRows[elemF32](), F16: floatRows[elemF16](), BF16: floatRows[elemBF16](),
		Q8: quantRows(q8Bytes, ZeroQ8, codeQ8), Q4: quantRows(q4Bytes, ZeroQ4, codeQ4),
		PanelRow: panelRow, TileF32: tileF32, RowsF32: rowsF32(dot[elemF32]),
		Outer: outer, OuterAt: outerAt, OuterPairs: outerPairs,
		DotU4S8: dotU4S8, Dot4U4S8: fourSketches(dotU4S8),
		DotU3S8: dotU3S8, Dot4U3S8: fourSketches(dotU3S8),
		QuantizeS8: quantizer(absMaxBits, roundS8),
		QuantizeX:  quantizeXBy(quantizeBlocks),
		RoundX:     roundXBy(roundBlocks),
		Blocks:     goBlocks(),
		Swish:      swish,
		DecodeF16:  decodeF16, EncodeF16: encodeF16,
		DecodeBF16: decodeBF16,
		Load:       load,
		Attention:  goAttention(),
	}
}

// Best returns the fastest set that this machine can run.
func Best() Set {
	all := All()
	return all[len(all)-1]
}
