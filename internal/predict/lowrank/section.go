package lowrank

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	// SectionName is the name of a sidecar's section of the factors in use.
	SectionName = "lowrank"
	// PartialName is the name of a section that former versions kept of a
	// training that had not ended. Nobody reads it any more.
	PartialName = "lowrank.partial"
)

// The names of a layer's tensors, each after the layer's number and a dot.
const (
	nameA    = "a"
	nameB    = "b"
	nameBias = "bias"
)

func tensorName(layer int, part string) string { return fmt.Sprintf("%d.%s", layer, part) }

// sectionJSON is a section's JSON.
type sectionJSON struct {
	Ranks map[int]int `json:"ranks"` // by layer
}

// NewSection is the factors of layers [layers] as a section, nothing of those
// that are empty.
func NewSection(layers []Layer) (s sidecar.Section, err error) {
	j := sectionJSON{Ranks: make(map[int]int)}
	s.Tensors = make(map[string]sidecar.Tensor)
	for l, layer := range layers {
		if layer.Empty() {
			continue
		}
		j.Ranks[l] = layer.A.Rows
		bias := make([]byte, tensor.F32.RowBytes(len(layer.Bias)))
		tensor.Encode(bias, layer.Bias, tensor.F32)
		s.Tensors[tensorName(l, nameA)] = toSidecar(layer.A)
		s.Tensors[tensorName(l, nameB)] = toSidecar(layer.B)
		s.Tensors[tensorName(l, nameBias)] = sidecar.Tensor{DType: "F32", Shape: []int64{int64(len(layer.Bias))}, Data: bias}
	}
	s.JSON, err = json.Marshal(j)
	return s, err
}

// toSidecar is a matrix as a sidecar holds it: Q8_0 as its rows' bytes.
func toSidecar(m device.Mat) sidecar.Tensor {
	if m.DType == tensor.Q8_0 {
		return sidecar.Tensor{DType: "U8", Shape: []int64{int64(m.Rows), m.DType.RowBytes(m.Cols)}, Data: m.Data}
	}
	return sidecar.Tensor{DType: "F16", Shape: []int64{int64(m.Rows), int64(m.Cols)}, Data: m.Data}
}

// ReadSection reads the factors of a model of layers layers of ffn neurons with
// inputs of length d: [layers], sharing the section's memory. It takes nothing
// on trust.
func ReadSection(s sidecar.Section, layers, d, ffn int) ([]Layer, error) {
	var j sectionJSON
	if err := json.Unmarshal(s.JSON, &j); err != nil {
		return nil, fmt.Errorf("lowrank: read section: %w", err)
	}
	ls := make([]Layer, layers)
	for l, rank := range j.Ranks {
		if l < 0 || l >= layers || rank < 1 || rank > min(d, ffn) {
			return nil, fmt.Errorf("lowrank: read section: got rank %d of layer %d, want 1 to %d and one of %d layers: train again", rank, l, min(d, ffn), layers)
		}
		if err := ls[l].read(s, l, rank, d, ffn); err != nil {
			return nil, err
		}
	}
	return ls, nil
}

// read sets one layer.
func (l *Layer) read(s sidecar.Section, layer, rank, d, ffn int) (err error) {
	if l.A, err = readMat(s, tensorName(layer, nameA), rank, d); err != nil {
		return err
	}
	if l.B, err = readMat(s, tensorName(layer, nameB), ffn, rank); err != nil {
		return err
	}
	name := tensorName(layer, nameBias)
	bias, err := find(s, name, sidecar.Tensor{DType: "F32", Shape: []int64{int64(ffn)}}, tensor.F32.RowBytes(ffn))
	if err != nil {
		return err
	}
	l.Bias = make([]float32, ffn)
	tensor.Decode(l.Bias, bias, tensor.F32)
	return checkFloats(name, l.Bias)
}

func readMat(s sidecar.Section, name string, rows, cols int) (m device.Mat, err error) {
	m = device.Mat{DType: elem(cols), Rows: rows, Cols: cols}
	if m.Data, err = find(s, name, toSidecar(m), m.DType.RowBytes(rows*cols)); err != nil {
		return m, err
	}
	return m, checkStored(name, m)
}

// find is the data of a section's tensor of the wanted type, shape and size.
func find(s sidecar.Section, name string, want sidecar.Tensor, size int64) ([]byte, error) {
	got := s.Tensors[name]
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || int64(len(got.Data)) != size {
		return nil, fmt.Errorf("lowrank: tensor %s: got %s %v of %d bytes, want %s %v of %d: train again",
			name, got.DType, got.Shape, len(got.Data), want.DType, want.Shape, size)
	}
	return got.Data, nil
}
