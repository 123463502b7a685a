package predict

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Codes is a layer's first parts in 3 bits a weight: a sketch like the pack's,
// which has 4, but rounded for the inputs that a text gave, so that it says as
// much in fewer bits. What a code stands for is at device.SketchMat; a
// row's scale is part of its calibration's Slope.
type Codes struct {
	Bits int    // 3; 0: there are none, the pack's sketch is used
	Rows []byte // [ffn, kernel.Sketch3Bytes(d)]
}

// codesTensor is the name of a layer's codes in a section: U8 [ffn, bytes].
func codesTensor(layer int) string { return fmt.Sprintf("codes.%d", layer) }

// readCodes sets the codes of layers of ffn neurons with inputs of length d,
// which share a section's memory.
func readCodes(layers []LayerCalibration, from sidecar.Section, bits map[int]int, d, ffn int) (err error) {
	for l, b := range bits {
		if l < 0 || l >= len(layers) || b != 3 {
			return fmt.Errorf("predict: calibration: bits of layer %d: got %d, want 3 and one of %d layers: train anew", l, b, len(layers))
		}
		layers[l].Codes.Bits = b
		if layers[l].Codes.Rows, err = dataOf(from, codesTensor(l), "U8", ffn, kernel.Sketch3Bytes(d)); err != nil {
			return err
		}
	}
	return nil
}
