package model

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Weights is everything but the neurons: matrices, which are resident or
// stream from the pack, and norms and biases, which are resident.
type Weights struct {
	EmbedTokens, EmbedPositions Matrix
	ProjectIn, ProjectOut       *Matrix // nil where the embedding is d wide
	Head                        Matrix
	FinalNorm                   *device.NormParams // nil where there is none
	Layers                      []LayerWeights
}

// LayerWeights is the weights of one decoder layer.
type LayerWeights struct {
	AttnNorm, MLPNorm device.NormParams
	Q, K, V, O        Matrix
	UpBias, DownBias  []float32 // [ffn], [d]; nil without biases
}

// Matrix is a [Rows, Cols] matrix of the pack and the bias added to its
// product.
type Matrix struct {
	Tensor pack.Tensor
	DType  tensor.DType
	Data   []byte    // [Rows, Cols], nil if the matrix streams
	Bias   []float32 // [Rows] or nil
}

// mat is rows rows of the matrix, with their bytes.
func (m *Matrix) mat(data []byte, rows int) device.Mat {
	return device.Mat{Data: data, DType: m.DType, Rows: rows, Cols: m.Tensor.Cols}
}
