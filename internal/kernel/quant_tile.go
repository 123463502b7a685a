package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The shape of a tile of quantised weights: Set.TileQ8 and Set.TileQ4 multiply
// QuantRows weight rows with QuantTokens activation rows.
const (
	QuantRows   = 4
	QuantTokens = 4
)

// A widened row is chunks of four groups of blocks, the last of one to four:
// 16 scales in float32 and then 128 codes a group. The plain set, which takes
// rows as they are, fills less of it.
const (
	wideScales = 64
	wideGroup  = 128
	wideChunk  = wideScales + groupBlocks*wideGroup
	wideElems  = 512 // of a chunk
)

// QuantTiles reports whether rows of n elements can be multiplied in tiles:
// those of whole groups of blocks.
func QuantTiles(n int) bool { return n%wideGroup == 0 }

// WideBytes is the size of a widened row of n elements, for which QuantTiles
// holds. It holds the row as it is stored, too.
func WideBytes(n int) int { return n/wideElems*wideChunk + wideTail(n%wideElems) }

// wideTail is the size of the last chunk, of n elements.
func wideTail(n int) int {
	if n == 0 {
		return 0
	}
	return wideScales + n
}

// narrow is a row as it is stored, of blocks of blockBytes, that was copied
// to the start of w in place of being widened.
func narrow(w []byte, blockBytes int) []byte {
	n := len(w) / wideChunk * wideElems
	if rest := len(w) % wideChunk; rest > 0 {
		n += rest - wideScales
	}
	return w[:n/tensor.QuantBlock*blockBytes]
}

// unwidened is Widen where tiles take rows as they are stored.
func unwidened(dst, w []byte, _ *byte) { copy(dst, w) }

// quantTile makes a tile of what multiplies a row of blocks of blockBytes with
// four activation rows.
func quantTile(blockBytes int, dot4 func(w, x []byte, stride int, next *byte) [4]float32) func(*[QuantRows * QuantTokens]float32, *[QuantRows][]byte, []byte, int) {
	return func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride int) {
		for i, row := range w {
			*(*[QuantTokens]float32)(out[i*QuantTokens:]) = dot4(narrow(row, blockBytes), x, stride, nil)
		}
	}
}

// quantRows makes Rows of what multiplies a row of blocks of blockBytes.
func quantRows(blockBytes int, dot func(w, x []byte, next *byte) float32) func(*[QuantRows]float32, *[QuantRows][]byte, []byte) {
	return func(out *[QuantRows]float32, w *[QuantRows][]byte, x []byte) {
		for i, row := range w {
			out[i] = dot(narrow(row, blockBytes), x, nil)
		}
	}
}

const (
	pairWords   = tensor.QuantBlock / 2
	outerBlocks = OuterCols / tensor.QuantBlock
)

func pairsQ8(codes []uint32, scales []float32, w []byte, _ *byte) {
	pairs(codes, scales, w, q8Bytes, func(block []byte, i int) float32 { return float32(int8(block[i])) })
}

func pairsQ4(codes []uint32, scales []float32, w []byte, _ *byte) {
	pairs(codes, scales, w, q4Bytes, func(block []byte, i int) float32 { return float32(int(block[i%16]>>(i/16*4)&15) - 8) })
}

// pairs is Pairs; code is element i's.
func pairs(codes []uint32, scales []float32, w []byte, blockBytes int, code func(block []byte, i int) float32) {
	for b := range len(w) / blockBytes {
		block := w[b*blockBytes:][:blockBytes]
		scales[b] = tensor.F16ToF32(binary.LittleEndian.Uint16(block))
		for i := range pairWords {
			low, high := math.Float32bits(code(block[2:], i)), math.Float32bits(code(block[2:], i+pairWords))
			codes[b*pairWords+i] = low>>16 | high
		}
	}
}

func outerPairs(y []float32, h []float32, rows []int32, codes []uint32, scales []float32, _ *float32) {
	for i, r := range rows {
		for b := range outerBlocks {
			block := int(r)*outerBlocks + b
			d, out := scales[block]*h[i], y[b*tensor.QuantBlock:]
			for k, pair := range codes[block*pairWords:][:pairWords] {
				out[k] = fma32(math.Float32frombits(pair<<16), d, out[k])
				out[pairWords+k] = fma32(math.Float32frombits(pair&0xffff0000), d, out[pairWords+k])
			}
		}
	}
}
