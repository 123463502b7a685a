package model

import (
	"context"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
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

// Loader finds room in fast memory for all that is resident and then reads it
// there, part by part: what every step begins and ends with, then layer by layer.
// Room is found by one goroutine; the reads may be another's.
type Loader struct {
	Store  *disk.DiskWeightStore
	Memory *memory.Memory
	// Resident says which matrices are loaded; the others stream.
	Resident map[string]bool
	// Stream reads blocks ahead of the one that is being copied.
	Stream *disk.BlockReader
	// Mapped, if not nil, is the whole pack in memory, of which matrices are
	// then parts instead of being loaded.
	Mapped []byte
	// Progress, if not nil, is told how many bytes have been read.
	Progress func(bytes int64)

	parts []part // Shared, then the layers; none before Weights
}

// part is what has room and is still to be read.
type part struct {
	places []place
	after  []func()
}

// place is where a tensor goes: one of bytes and floats.
type place struct {
	tensor pack.Tensor
	bytes  []byte
	floats []float32 // of a tensor of float32 elements
}

// Shared is, where a layer is asked for, what belongs to none.
const Shared = -1

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

// Sketch finds room for the 4-bit sketch of one layer's first MLP half, as a
// part of the layer.
func (l *Loader) Sketch(layer int, bias []float32) (device.SketchMat, error) {
	r := finder{l: l, to: &l.parts[1+layer]}
	name := fmt.Sprintf("layers.%d.mlp.sketch", layer)
	t := r.tensor(name)
	m := device.SketchMat{
		Codes:    r.bytes(t),
		Scales:   r.vector(name + "_scale"),
		Bias:     bias,
		RowBytes: int(t.RowBytes),
		Rows:     t.Rows,
		Cols:     l.Store.Pack().Profile().HiddenSize,
	}
	return m, r.err
}

// Up reads the first halves of all neurons of a layer, [ffn, d], through
// slots.
func (l *Loader) Up(ctx context.Context, layer int, slots device.Slots) (device.Mat, error) {
	p := l.Store.Pack().Profile()
	m := device.Mat{DType: slots.DType, Rows: p.FFN, Cols: p.HiddenSize}
	row := m.DType.RowBytes(m.Cols)
	m.Data = l.Memory.Piece(int64(m.Rows) * row)
	dst := [][]byte{slots.Bundle(0)}
	for i := range p.FFN {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		if err := l.Store.ReadNeurons(layer, i, dst); err != nil {
			return m, err
		}
		copy(m.Data[int64(i)*row:], slots.Vec(0, 0))
	}
	l.progress(int64(len(m.Data)))
	return m, nil
}

// Room is the memory of a layer's matrices and sketch, or of those of Shared.
func (l *Loader) Room(layer int) (all [][]byte) {
	for _, p := range l.parts[1+layer].places {
		if p.bytes != nil {
			all = append(all, p.bytes)
		}
	}
	return all
}

// After has f called when a layer has been read, by whoever reads it.
func (l *Loader) After(layer int, f func()) {
	p := &l.parts[1+layer]
	p.after = append(p.after, f)
}

// Read reads what has room of a layer, or of Shared, and was not read before: one
// block after the other, with the next ones on their way.
func (l *Loader) Read(ctx context.Context, layer int) error {
	p := &l.parts[1+layer]
	for _, x := range p.places {
		l.Stream.Queue(x.tensor)
	}
	for _, x := range p.places {
		if err := l.fill(ctx, x); err != nil {
			l.Stream.Reset()
			return err
		}
		l.progress(x.tensor.Bytes())
	}
	for _, f := range p.after {
		f()
	}
	*p = part{}
	return nil
}

func (l *Loader) fill(ctx context.Context, p place) error {
	for b := range p.tensor.Blocks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := l.Stream.Block(p.tensor, b)
		if err != nil {
			return err
		}
		row, _ := p.tensor.Block(b)
		at := int64(row) * p.tensor.RowBytes
		if p.bytes != nil {
			copy(p.bytes[at:], data)
			continue
		}
		tensor.Decode(p.floats[at/4:at/4+int64(len(data)/4)], data, tensor.F32)
	}
	return nil
}

func (l *Loader) progress(bytes int64) {
	if l.Progress != nil {
		l.Progress(bytes)
	}
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
