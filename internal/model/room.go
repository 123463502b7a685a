package model

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Weights finds room for all that is resident but predictors. It is there once
// every part has been read.
func (l *Loader) Weights() (*Weights, error) {
	p := l.Store.Pack().Profile()
	l.parts = make([]part, 1+p.Layers)
	r := finder{Loader: l, to: &l.parts[0], profile: p}
	w := &Weights{
		EmbedTokens: r.matrix("embed.tokens", false),
	}
	if p.LearnedPositions {
		w.EmbedPositions = r.matrix("embed.positions", false)
	}
	w.Head = w.EmbedTokens
	if !p.TiedHead {
		w.Head = r.matrix("head", false)
	}
	w.Head.Fine = true // nothing evens out what is rounded here
	if p.EmbedDim != p.HiddenSize {
		in, out := r.matrix("project.in", false), r.matrix("project.out", false)
		w.ProjectIn, w.ProjectOut = &in, &out
	}
	w.FinalNorm = r.normIf(p.FinalNorm, "final_norm")
	for _, k := range p.Kinds {
		w.Frequencies = append(w.Frequencies, r.frequencies(k.RoPE))
	}
	for i := range p.Layers {
		r.to = &l.parts[1+i]
		at := fmt.Sprintf("layers.%d.", i)
		lw := LayerWeights{
			AttnNorm:     r.norm(at + "attn_norm"),
			AttnPostNorm: r.normIf(p.SandwichNorm, at+"attn_post_norm"),
			MLPNorm:      r.norm(at + "mlp_norm"),
			MLPPostNorm:  r.normIf(p.SandwichNorm, at+"mlp_post_norm"),
			QNorm:        r.normIf(p.QKNorm != config.NoQKNorm, at+"attn.q_norm"),
			KNorm:        r.normIf(p.QKNorm != config.NoQKNorm, at+"attn.k_norm"),
			Q:            r.matrix(at+"attn.q", true),
			K:            r.matrix(at+"attn.k", true),
			V:            r.matrix(at+"attn.v", true),
			O:            r.matrix(at+"attn.o", true),
		}
		if p.Sinks {
			lw.Sinks = r.vector(at + "attn.sinks")
		}
		if m := p.MoE(i); m.Experts > 0 {
			r.experts(&lw, at+"moe.", m)
		} else {
			r.mlp(&lw, at+"mlp.")
		}
		w.Layers = append(w.Layers, lw)
	}
	return w, r.err
}

// experts finds room for what of a mixture of experts is no expert.
func (r *finder) experts(w *LayerWeights, at string, m config.MoE) {
	w.Router = r.matrix(at+"router", true)
	w.Router.Fine = true // if some file has it in blocks: a near tie must not hang on 8 bits
	if m.Router.ScoreBias {
		w.ScoreBias = r.vector(at + "score_bias")
	}
	if m.Bias {
		for i, part := range []string{"gate", "up", "down"} {
			w.ExpertBias[i] = r.vector(at + "experts." + part + ".bias")
		}
	}
	if m.SharedGate {
		w.SharedGate = r.matrix(at+"shared_gate", true)
	}
	if m.Shared > 0 {
		w.Gate, w.Up, w.Down = r.matrix(at+"shared.gate", true), r.matrix(at+"shared.up", true), r.matrix(at+"shared.down", true)
	}
}

// mlp finds room for what of an MLP is no bundle.
func (r *finder) mlp(w *LayerWeights, at string) {
	gated := r.profile.NeuronParts == 3
	if !r.profile.Sparse() {
		if gated {
			w.Gate = r.matrix(at+"gate", true)
		}
		w.Up, w.Down = r.matrix(at+"up", true), r.matrix(at+"down", true)
		return
	}
	if !r.profile.Bias && !r.profile.MLPBias {
		return
	}
	if gated {
		w.FirstBias, w.SecondBias = r.vector(at+"gate.bias"), r.vector(at+"up.bias")
	} else {
		w.FirstBias = r.vector(at + "up.bias")
	}
	w.DownBias = r.vector(at + "down.bias")
}

// Sketch finds room for the 4-bit sketch of one layer's first MLP half, as a
// part of the layer.
func (l *Loader) Sketch(layer int, bias []float32) (device.SketchMat, error) {
	r := finder{Loader: l, to: &l.parts[1+layer]}
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

// finder finds room for the tensors of a part, until the first error.
type finder struct {
	*Loader
	to      *part
	profile config.ModelProfile
	err     error
}

func (r *finder) tensor(name string) pack.Tensor {
	t, ok := r.Store.Pack().Tensor(name)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("model: load %s: got no tensor %s, want one", r.Store.Pack().Path(), name)
	}
	return t
}

// bytes is room for a whole tensor.
func (r *finder) bytes(t pack.Tensor) []byte {
	if r.err != nil {
		return nil
	}
	p := place{tensor: t, bytes: r.Memory.Piece(t.Bytes())}
	r.to.places = append(r.to.places, p)
	return p.bytes
}

// vector is room for a vector, as float32 elements.
func (r *finder) vector(name string) []float32 {
	t := r.tensor(name)
	if r.err != nil {
		return nil
	}
	p := place{tensor: t, floats: r.Memory.Floats(t.Rows * t.Cols)}
	r.to.places = append(r.to.places, p)
	return p.floats
}

// frequencies are those of a kind of layers, once what divides them is there.
func (r *finder) frequencies(rope config.RoPE) []float32 {
	if !rope.Divisors {
		return rope.Frequencies(nil)
	}
	divisors, f := r.vector("rope.divisors"), make([]float32, rope.Dims/2)
	r.to.after = append(r.to.after, func() { copy(f, rope.Frequencies(divisors)) })
	return f
}

func (r *finder) normIf(there bool, name string) *device.NormParams {
	if !there {
		return nil
	}
	n := r.norm(name)
	return &n
}

func (r *finder) norm(name string) device.NormParams {
	p := r.profile
	n := device.NormParams{Kind: p.Norm, Eps: p.NormEps}
	if p.NormAffine {
		n.Weight = r.vector(name + ".weight")
		if off := p.NormOffset; off != 0 {
			r.to.after = append(r.to.after, func() {
				for i := range n.Weight {
					n.Weight[i] += off
				}
			})
		}
		if p.Norm == config.LayerNorm {
			n.Bias = r.vector(name + ".bias")
		}
	}
	return n
}

// matrix finds room for a matrix if it is to be resident. Those of a linear layer are
// called name.weight, and have a bias if the pack has one.
func (r *finder) matrix(name string, linear bool) Matrix {
	var m Matrix
	if linear {
		if _, ok := r.Store.Pack().Tensor(name + ".bias"); ok {
			m.Bias = r.vector(name + ".bias")
		}
		name += ".weight"
	}
	m.Tensor = r.tensor(name)
	m.DType = m.Tensor.Elem
	if r.err == nil && r.Resident[name] {
		m.Data = r.bytes(m.Tensor)
	}
	return m
}
