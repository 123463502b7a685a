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
	Frequencies                 [][]float32        // [kinds][pairs] of RoPE, in radians a position
	Layers                      []LayerWeights
}

// LayerWeights is the weights of one decoder layer.
type LayerWeights struct {
	AttnNorm, MLPNorm device.NormParams
	// Of what attention and MLP add, nil where there are none.
	AttnPostNorm, MLPPostNorm *device.NormParams
	QNorm, KNorm              *device.NormParams // of each head, nil where there are none
	Q, K, V, O                Matrix
	// Of neurons that are stored as bundles: the biases of their parts.
	FirstBias, SecondBias, DownBias []float32 // [ffn], [ffn] of three parts, [d]; nil without biases
	// Of other MLPs, or of the shared expert: their matrices. Gate has no Tensor in MLPs of
	// two, and none of them has where there is neither.
	Gate, Up, Down Matrix
	// Of mixtures of experts.
	Router     Matrix
	ScoreBias  []float32    // [experts] or nil
	ExpertBias [3][]float32 // [experts, rows] of each part, or nil
	SharedGate Matrix       // [1, d], without Tensor where there is none
	Sinks      []float32    // [heads] or nil
}

// matrices are those of the layer in the order of their products.
func (w *LayerWeights) matrices() []*Matrix {
	all := []*Matrix{&w.Q, &w.K, &w.V, &w.O}
	for _, m := range []*Matrix{&w.Router, &w.SharedGate, &w.Gate, &w.Up, &w.Down} {
		if m.Tensor.Name != "" {
			all = append(all, m)
		}
	}
	return all
}

// Matrix is a [Rows, Cols] matrix of the pack and the bias added to its
// product.
type Matrix struct {
	Tensor pack.Tensor
	DType  tensor.DType
	Data   []byte    // [Rows, Cols], nil if the matrix streams
	Bias   []float32 // [Rows] or nil
	Fine   bool      // see device.Mat
}

// mat is rows rows of the matrix, with their bytes.
func (m *Matrix) mat(data []byte, rows int) device.Mat {
	return device.Mat{Data: data, DType: m.DType, Rows: rows, Cols: m.Tensor.Cols, Fine: m.Fine}
}
