package predict

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Codes is a layer's first halves in 3 bits a weight: a sketch like the pack's,
// which has 4, but rounded for the inputs that a text gave, so that it says as
// much in fewer bits. What a code stands for is at device.SketchMat; a
// row's scale is part of its calibration's Slope.
type Codes struct {
	Bits int    // 3; 0: there are none, the pack's sketch is used
	Rows []byte // [ffn, kernel.Sketch3Bytes(d)]
}

// codesTensor is the name of a layer's codes in a section: U8 [ffn, bytes].
func codesTensor(layer int) string { return fmt.Sprintf("codes.%d", layer) }

// addCodes adds the codes of layers of ffn neurons to a section's tensors and
// returns their bits by layer.
func addCodes(to map[string]sidecar.Tensor, layers []LayerCalibration, ffn int) (bits map[int]int) {
	for l := range layers {
		c := layers[l].Codes
		if c.Bits == 0 {
			continue
		}
		if bits == nil {
			bits = make(map[int]int)
		}
		bits[l] = c.Bits
		to[codesTensor(l)] = sidecar.Tensor{DType: "U8", Shape: []int64{int64(ffn), int64(len(c.Rows) / ffn)}, Data: c.Rows}
	}
	return bits
}

// readCodes sets the codes of layers of ffn neurons with inputs of length d,
// which share a section's memory.
func readCodes(layers []LayerCalibration, from map[string]sidecar.Tensor, bits map[int]int, d, ffn int) error {
	for l, b := range bits {
		if l < 0 || l >= len(layers) || b != 3 {
			return fmt.Errorf("predict: calibration: bits of layer %d: got %d, want 3 and one of %d layers: train anew", l, b, len(layers))
		}
		name := codesTensor(l)
		t, row := from[name], kernel.Sketch3Bytes(d)
		if t.DType != "U8" || len(t.Shape) != 2 || t.Shape[0] != int64(ffn) || t.Shape[1] != int64(row) || len(t.Data) != ffn*row {
			return fmt.Errorf("predict: calibration: tensor %q: got %s %v, want U8 [%d %d]", name, t.DType, t.Shape, ffn, row)
		}
		layers[l].Codes = Codes{Bits: b, Rows: t.Data}
	}
	return nil
}
