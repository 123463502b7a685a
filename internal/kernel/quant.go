package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The zero points of the quantised types, for [Set.QuantizeX].
const (
	ZeroQ8 = -128
	ZeroQ4 = -8
)

const (
	groupBlocks = 4   // blocks that are summed side by side
	recordBytes = 256 // of the activations of a group
	q8Bytes     = 34  // of a block of weights
	q4Bytes     = 18
)

// QuantXBytes is the size of the records of n activations, n a multiple of 32.
func QuantXBytes(n int) int {
	const group = groupBlocks * tensor.QuantBlock
	return (n + group - 1) / group * recordBytes
}

// The parts of block b of a record: codes of its halves, zero point terms and
// scales.
func lowCodes(record []byte, b int) []byte  { return record[16*b:][:16] }
func highCodes(record []byte, b int) []byte { return record[64+16*b:][:16] }
func zeroTerms(record []byte, b int) []byte { return record[128+16*b:][:16] }
func xScales(record []byte, b int) []byte   { return record[192+16*b:][:16] }

// quantizeXBy makes a QuantizeX of what fills the records of whole blocks.
func quantizeXBy(blocks func(dst []byte, x []float32, zero int32)) func([]byte, []float32, int32) {
	return func(dst []byte, x []float32, zero int32) {
		if end := QuantXBytes(len(x)); len(x)%(groupBlocks*tensor.QuantBlock) != 0 {
			clear(dst[end-recordBytes : end])
		}
		blocks(dst, x, zero)
	}
}

func quantizeBlocks(dst []byte, x []float32, zero int32) {
	for b := 0; len(x) >= tensor.QuantBlock; b++ {
		quantizeBlock(dst[b/groupBlocks*recordBytes:], b%groupBlocks, x[:tensor.QuantBlock], zero)
		x = x[tensor.QuantBlock:]
	}
}

func quantizeBlock(record []byte, b int, x []float32, zero int32) {
	scale, inv, fine := scaleOf(x)
	low, high, terms, scales := lowCodes(record, b), highCodes(record, b), zeroTerms(record, b), xScales(record, b)
	var sums [4]int32
	for i, v := range x {
		q := int32(0)
		if fine {
			q = int32(math.RoundToEven(float64(float32(v * inv))))
		}
		sums[i%16/4] += q
		if i < 16 {
			low[i] = byte(q)
		} else {
			high[i-16] = byte(q)
		}
	}
	for j, sum := range sums {
		binary.LittleEndian.PutUint32(terms[4*j:], uint32(zero*sum))
		binary.LittleEndian.PutUint32(scales[4*j:], math.Float32bits(scale))
	}
}

// quantRows is the twins for rows of blocks of blockBytes with a zero point; code
// is element i of the codes of a block.
func quantRows(blockBytes int, zero int32, code func(codes []byte, i int) int32) Rows {
	dot := func(w, x []byte, _ *byte) float32 { return dotBlocks(w, x, blockBytes, code, zero) }
	axpy := func(y []float32, a float32, w []byte, _ *byte) { axpyBlocks(y, a, w, blockBytes, code) }
	return Rows{
		Dot: dot, Dot4: dot4(dot), MatVec: matVec(dot), Axpy: axpy, Axpy4: axpy4(axpy),
		Widen: unwidened, Tile: quantTile(blockBytes, dot), Pairs: pairs(blockBytes, code),
	}
}

func codeQ8(codes []byte, i int) int32 { return int32(int8(codes[i])) }
func codeQ4(codes []byte, i int) int32 { return int32(codes[i%16]>>(i/16*4)&15) - 8 }

// dotBlocks sums the products of whole groups. The kernels multiply unsigned codes,
// each code less zero, and a record has what that adds too much.
func dotBlocks(w, x []byte, blockBytes int, code func(codes []byte, i int) int32, zero int32) float32 {
	var acc [lanes]float32 // the first sixteen
	blocks := len(w) / blockBytes
	for b := range (blocks + groupBlocks - 1) / groupBlocks * groupBlocks {
		record, slot := x[b/groupBlocks*recordBytes:], b%groupBlocks
		low, high := lowCodes(record, slot), highCodes(record, slot)
		var d float32
		var codes []byte
		if b < blocks {
			block := w[b*blockBytes:][:blockBytes]
			d, codes = tensor.F16ToF32(binary.LittleEndian.Uint16(block)), block[2:]
		}
		for j := range 4 {
			sum := int32(0)
			if codes != nil {
				sum = int32(binary.LittleEndian.Uint32(zeroTerms(record, slot)[4*j:]))
				for i := 4 * j; i < 4*j+4; i++ {
					sum += (code(codes, i)-zero)*int32(int8(low[i])) + (code(codes, 16+i)-zero)*int32(int8(high[i]))
				}
			}
			scale := d * math.Float32frombits(binary.LittleEndian.Uint32(xScales(record, slot)[4*j:]))
			acc[4*slot+j] = fma32(float32(sum), scale, acc[4*slot+j])
		}
	}
	return halve(&acc)
}

func axpyBlocks(y []float32, a float32, w []byte, blockBytes int, code func(codes []byte, i int) int32) {
	for ; len(w) >= blockBytes; w, y = w[blockBytes:], y[tensor.QuantBlock:] {
		d := tensor.F16ToF32(binary.LittleEndian.Uint16(w)) * a
		for i := range tensor.QuantBlock {
			y[i] = fma32(float32(code(w[2:blockBytes], i)), d, y[i])
		}
	}
}
