package kernel

import "github.com/sparseflow/sparseflow/internal/tensor"

// The shape of a tile of quantised weights: Set.TileQ8 and Set.TileQ4 multiply
// QuantRows weight rows with QuantTokens activation rows.
const (
	QuantRows   = 2
	QuantTokens = 8
)

// QuantTiles reports whether rows of n elements can be multiplied in tiles:
// those of whole groups of blocks.
func QuantTiles(n int) bool { return n%(groupBlocks*tensor.QuantBlock) == 0 }

// quantTile makes a tile of what multiplies a row with four activation rows.
func quantTile(dot4 func(w, x []byte, stride int, next *byte) [4]float32) func(*[QuantRows * QuantTokens]float32, *[QuantRows][]byte, []byte, int) {
	return func(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride int) {
		for i, row := range w {
			for j := 0; j < QuantTokens; j += 4 {
				four := dot4(row, x[j*stride:], stride, nil)
				copy(out[i*QuantTokens+j:], four[:])
			}
		}
	}
}
