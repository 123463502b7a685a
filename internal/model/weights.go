package model

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
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

// Weights finds room for all that is resident but predictors. It is there once
// every part has been read.
func (l *Loader) Weights() (*Weights, error) {
	p := l.Store.Pack().Profile()
	l.parts = make([]part, 1+p.Layers)
	r := finder{l: l, to: &l.parts[0], bias: p.Bias}
	w := &Weights{
		EmbedTokens:    r.matrix("embed.tokens", false),
		EmbedPositions: r.matrix("embed.positions", false),
	}
	w.Head = w.EmbedTokens
	if !p.TiedHead {
		w.Head = r.matrix("head", false)
	}
	if p.EmbedDim != p.HiddenSize {
		in, out := r.matrix("project.in", false), r.matrix("project.out", false)
		w.ProjectIn, w.ProjectOut = &in, &out
	}
	if p.FinalNorm {
		n := r.norm("final_norm", p)
		w.FinalNorm = &n
	}
	for i := range p.Layers {
		r.to = &l.parts[1+i]
		at := fmt.Sprintf("layers.%d.", i)
		lw := LayerWeights{
			AttnNorm: r.norm(at+"attn_norm", p),
			MLPNorm:  r.norm(at+"mlp_norm", p),
			Q:        r.matrix(at+"attn.q", true),
			K:        r.matrix(at+"attn.k", true),
			V:        r.matrix(at+"attn.v", true),
			O:        r.matrix(at+"attn.o", true),
		}
		if p.Bias {
			lw.UpBias, lw.DownBias = r.vector(at+"mlp.up.bias"), r.vector(at+"mlp.down.bias")
		}
		w.Layers = append(w.Layers, lw)
	}
	return w, r.err
}

// finder finds room for the tensors of a part, until the first error.
type finder struct {
	l    *Loader
	to   *part
	bias bool
	err  error
}

func (r *finder) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *finder) tensor(name string) pack.Tensor {
	t, ok := r.l.Store.Pack().Tensor(name)
	if !ok {
		r.fail(fmt.Errorf("model: load %s: got no tensor %s, want one", r.l.Store.Pack().Path(), name))
	}
	return t
}

// bytes is room for a whole tensor.
func (r *finder) bytes(t pack.Tensor) []byte {
	if r.err != nil {
		return nil
	}
	p := place{tensor: t, bytes: r.l.Memory.Piece(t.Bytes())}
	r.to.places = append(r.to.places, p)
	return p.bytes
}

// vector is room for a tensor of float32 elements.
func (r *finder) vector(name string) []float32 {
	t := r.tensor(name)
	if r.err != nil {
		return nil
	}
	p := place{tensor: t, floats: r.l.Memory.Floats(int(t.Bytes() / 4))}
	r.to.places = append(r.to.places, p)
	return p.floats
}

func (r *finder) norm(name string, p config.ModelProfile) device.NormParams {
	n := device.NormParams{Kind: p.Norm, Eps: p.NormEps}
	if p.NormAffine {
		n.Weight = r.vector(name + ".weight")
		if p.Norm == config.LayerNorm {
			n.Bias = r.vector(name + ".bias")
		}
	}
	return n
}

// matrix finds room for a matrix if it is to be resident. Those of a linear layer are
// called name.weight, and have a bias if the model has biases.
func (r *finder) matrix(name string, linear bool) Matrix {
	var m Matrix
	if linear && r.bias {
		m.Bias = r.vector(name + ".bias")
	}
	if linear {
		name += ".weight"
	}
	m.Tensor = r.tensor(name)
	m.DType = m.Tensor.Elem
	switch {
	case r.err != nil:
	case r.l.Mapped != nil:
		m.Data = r.l.Mapped[m.Tensor.Offset:][:m.Tensor.Bytes()]
	case r.l.Resident[name]:
		m.Data = r.bytes(m.Tensor)
	}
	return m
}
