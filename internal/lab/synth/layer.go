package synth

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// update is how large what a sublayer adds to the residual stream is, against
// the stream. Large models change it as little from layer to layer; more makes
// looking ahead harder.
const update = 0.12

// The tensors of a layer, in the order of a checkpoint, and what tells their
// random numbers apart.
const (
	partQ = iota
	partK
	partV
	partOut
	partUp
	partDown
	layerParts
)

// tensorOf numbers a layer's tensor; 0 and 1 are the embeddings.
func tensorOf(layer, part int) int { return 2 + layer*layerParts + part }

// secondOf numbers the second parts of a layer's gated neurons.
func secondOf(layer int) int { return 1<<30 + layer }

// layerWeights is one layer as a checkpoint stores it, float16 throughout.
type layerWeights struct {
	q, k, v, out     []byte // [d, d]
	first            []byte // [ffn, d]: the first parts of neurons
	second           []byte // [ffn, d]: the second of three, else nil
	down             []byte // [d, ffn]
	outBias          []byte // [d]
	firstBias        []byte // [ffn]
	downBias         []byte // [d]
	zeros, ones      []byte // [d]: biases and norms that do nothing
	secondBias       []byte // [ffn] of zeros
	final            []byte // [d]: the weight of the last norm
	outRows, downRow []byte // out and down as they are drawn, a row what is written: [d, d], [ffn, d]
}

func newLayerWeights(p config.ModelProfile) *layerWeights {
	d, ffn := p.HiddenSize, p.FFN
	f16 := func(n int) []byte { return make([]byte, 2*n) }
	w := &layerWeights{
		q: f16(d * d), k: f16(d * d), v: f16(d * d), out: f16(d * d), first: f16(ffn * d), down: f16(ffn * d),
		outBias: f16(d), firstBias: f16(ffn), downBias: f16(d), zeros: f16(d),
		outRows: f16(d * d), downRow: f16(ffn * d),
	}
	if p.NeuronParts == 3 {
		w.second, w.secondBias = f16(ffn*d), f16(ffn)
	}
	w.ones, w.final = constant(d, 1), constant(d, finalGain(p))
	return w
}

// constant is n elements of value v.
func constant(n int, v float64) []byte {
	b, all := make([]byte, 2*n), make([]float32, n)
	for i := range all {
		all[i] = float32(v)
	}
	tensor.Encode(b, all, tensor.F16)
	return b
}

// layer draws the next layer and moves the calibration tokens through it. Each
// part is drawn when what it is scaled by is known: what is calibrated is the
// weights as rounded.
func (m *model) layer(ctx context.Context, l int) error {
	for _, step := range []func(l int){m.attention, m.neurons} {
		if err := ctx.Err(); err != nil {
			return err
		}
		step(l)
	}
	return ctx.Err()
}

// attention draws a layer's attention. Queries and keys are independent, each
// element of deviation 1, so that scores have deviation 1 too.
func (m *model) attention(l int) {
	w, p, d := m.weights, m.profile, m.profile.HiddenSize
	for part, to := range [][]byte{partQ: w.q, partK: w.k, partV: w.v} {
		m.draw(to, m.space.independent(tensorOf(l, part)), d)
	}
	m.norm()
	m.cpu.Linear(m.q, m.in, f16Mat(w.q, d, d), nil)
	m.cpu.Linear(m.k, m.in, f16Mat(w.k, d, d), nil)
	m.cpu.Linear(m.v, m.in, f16Mat(w.v, d, d), nil)
	if m.angles.Data != nil {
		m.cpu.Rotate(m.q, m.angles, p.HeadDim(), false)
		m.cpu.Rotate(m.k, m.angles, p.HeadDim(), false)
	}
	for _, s := range m.spans {
		for i := range s.N {
			t := s.first + i
			m.kv.Put(0, s.Seq, i, m.k.Row(t), m.v.Row(t))
		}
	}
	m.cpu.Attend(m.attn, m.q, m.kv, 0, m.deviceSpans, device.AttendParams{
		Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim(), Scale: attentionScale(p),
	})
	scale := m.scale(m.variances(m.attn))
	m.draw(w.outRows, m.space.written(tensorOf(l, partOut), scale), d)
	m.transpose(w.out, w.outRows, d, d)
	m.cpu.Linear(m.add, m.attn, f16Mat(w.out, d, d), nil)
	m.centre(w.outBias)
}

// neurons draws a layer's MLP.
func (m *model) neurons(l int) {
	w, d, ffn := m.weights, m.profile.HiddenSize, m.profile.FFN
	m.draw(w.first, m.space.neurons(tensorOf(l, partUp)), ffn)
	m.norm()
	m.cpu.Linear(m.hidden, m.in, f16Mat(w.first, ffn, d), nil)
	m.fire(w.firstBias, shuffled(frequencies(ffn, m.active[l], m.hot), m.space.seed, l))
	if w.second != nil {
		m.gate(l)
	}
	scale := m.scale(m.variances(m.hidden))
	m.draw(w.downRow, m.space.written(tensorOf(l, partDown), scale), ffn)
	m.transpose(w.down, w.downRow, ffn, d)
	m.project(w.downRow)
	m.centre(w.downBias)
}

// gate draws the second parts of a layer's neurons, which know no basis: what they
// multiply by says nothing of who is active.
func (m *model) gate(l int) {
	w, d, ffn := m.weights, m.profile.HiddenSize, m.profile.FFN
	m.draw(w.second, m.space.independent(secondOf(l)), ffn)
	m.cpu.Linear(m.second, m.in, f16Mat(w.second, ffn, d), nil)
	m.each(m.hidden.Rows, drawRows, func(from, to int) {
		for t := from; t < to; t++ {
			for i, v := range m.second.Row(t) {
				m.hidden.Row(t)[i] *= v
			}
		}
	})
}
