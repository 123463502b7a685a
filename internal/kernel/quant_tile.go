package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The shape of a tile of quantised weights: Rows.Tile multiplies QuantRows weight
// rows with up to QuantTokens activation rows.
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

// quantTile makes a Tile of a Dot over rows of blocks of blockBytes.
func quantTile(blockBytes int, dot func(w, x []byte, next *byte) float32) func(*[QuantRows * QuantTokens]float32, *[QuantRows][]byte, []byte, int, int) {
	return func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride, tokens int) {
		for i, row := range w {
			for t := range tokens {
				out[i*QuantTokens+t] = dot(narrow(row, blockBytes), x[t*stride:], nil)
			}
		}
	}
}

const (
	pairWords   = tensor.QuantBlock / 2
	outerBlocks = OuterCols / tensor.QuantBlock
)

// pairs makes a Pairs of what gives the codes of blocks of blockBytes.
func pairs(blockBytes int, code func(codes []byte, i int) int32) func(codes []uint32, scales []float32, w []byte, _ *byte) {
	return func(codes []uint32, scales []float32, w []byte, _ *byte) {
		for b := range len(w) / blockBytes {
			block := w[b*blockBytes:][:blockBytes]
			scales[b] = tensor.F16ToF32(binary.LittleEndian.Uint16(block))
			for i := range pairWords {
				low, high := float32(code(block[2:], i)), float32(code(block[2:], i+pairWords))
				codes[b*pairWords+i] = math.Float32bits(low)>>16 | math.Float32bits(high)
			}
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
