package synth

import (
	"math"
	"sync"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	// calibrationTokens is how many tokens thresholds are set on: with fewer,
	// deviations are too uncertain for rare neurons.
	calibrationTokens = 1024
	// sequenceTokens is how many of them are one text.
	sequenceTokens = 256
	// tokenDeviation is that of a token embedding's elements: large enough
	// for norms not to notice their epsilon.
	tokenDeviation = 0.05
	// positionShare is how large positions are against tokens in the sum of
	// embeddings.
	positionShare = 0.3
)

// model is the calibration tokens on their way through the layers.
type model struct {
	profile config.ModelProfile
	active  []float64 // [layers] share of active neurons
	hot     float64   // of neurons, that are aimed to give 80 % of the activations
	threads int
	space   *space
	weights *layerWeights // of the layer at hand
	cpu     *cpu.Backend

	x, in, add    device.Act // [tokens, d] residual stream, sublayer's input and output
	q, k, v, attn device.Act // [tokens, d]
	angles        device.Act // [tokens, head dim] cosines and sines of RoPE; empty without it
	hidden        device.Act // [tokens, ffn] pre-activations, then activations
	second        device.Act // [tokens, ffn] what second parts multiply these by, if there are any
	kv            *kv.Cache
	spans         []span
	deviceSpans   []device.Span
}

// span is one text of the calibration tokens.
type span struct {
	device.Span
	first int // row of its first token
}

func newModel(o Options) *model {
	p, d := o.Profile, o.Profile.HiddenSize
	m := &model{
		profile: p, active: o.shares(), hot: o.aim(), threads: o.threads(),
		space: newSpace(d, o.Seed, kernel.Best()), weights: newLayerWeights(p),
	}
	m.cpu = cpu.New(kernel.Best(), m.threads)
	length := min(sequenceTokens, p.MaxPositions)
	texts := (calibrationTokens + length - 1) / length
	n := texts * length
	for _, a := range []*device.Act{&m.x, &m.in, &m.add, &m.q, &m.k, &m.v, &m.attn} {
		*a = device.NewAct(n, d)
	}
	m.hidden = device.NewAct(n, p.FFN)
	if p.NeuronParts == 3 {
		m.second = device.NewAct(n, p.FFN)
	}
	shape := kv.Shape{Layers: 1, Heads: p.KVHeads, HeadDim: p.HeadDim(), DType: tensor.F32}
	m.kv = kv.New(shape, alignedBytes(int64(texts*shape.Pages(length, length))*shape.PageBytes()))
	for i := range texts {
		seq := &kv.Seq{}
		if err := m.kv.Grow(seq, length); err != nil {
			panic(err) // sized for it
		}
		m.spans = append(m.spans, span{device.Span{Seq: seq, N: length}, i * length})
		m.deviceSpans = append(m.deviceSpans, m.spans[i].Span)
	}
	m.rotations()
	m.embed(o.Seed)
	return m
}

// rotations sets the angles of the tokens' positions.
func (m *model) rotations() {
	rope := m.profile.Kind(0).RoPE
	if rope.Dims == 0 {
		return
	}
	m.angles = device.NewAct(m.x.Rows, rope.Dims)
	frequencies := rope.Frequencies(nil)
	for _, s := range m.spans {
		for i := range s.N {
			row := m.angles.Row(s.first + i)
			for j, f := range frequencies {
				sin, cos := math.Sincos(float64(float32(i) * f))
				row[j], row[len(frequencies)+j] = float32(cos), float32(sin)
			}
		}
	}
}

// alignedBytes is memory for float32 elements.
func alignedBytes(n int64) []byte {
	f := make([]float32, (n+3)/4)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), n)
}

// tokenRows and positionRows are how the embeddings are drawn.
func (s *space) tokenRows() rows {
	return s.written(0, tokenDeviation)
}

func (s *space) positionRows() rows {
	return s.written(1, positionShare*tokenDeviation)
}

// finalGain is the weight of the last norm. The head is tied to the embeddings,
// so that the residual stream, of which the token is the largest part, makes
// the likeliest next token the same again. With this gain its logit is the
// logarithm of the vocabulary's size above the others, and so its probability
// about a half: divergences from an exact model are neither nothing nor vast.
func finalGain(p config.ModelProfile) float64 {
	grown := 1.0
	if p.LearnedPositions {
		grown += positionShare * positionShare
	}
	grown *= math.Pow(1+update*update, 2*float64(p.Layers))
	token := float64(p.HiddenSize) * tokenDeviation / math.Sqrt(grown)
	return math.Log(float64(p.VocabSize)) / token
}

// embed sets the residual stream to the calibration tokens' embeddings, each
// text behind the begin-of-text token.
func (m *model) embed(seed uint64) {
	ids := sample.DrawTokens(m.profile.VocabSize, m.x.Rows, seed|sample.CalibrationSeeds)
	w, d := m.space.drawer(), m.profile.HiddenSize
	raw := make([]byte, 2*d)
	position := make([]float32, d)
	for _, s := range m.spans {
		ids[s.first] = m.profile.BOS
		for i := range s.N {
			x := m.x.Row(s.first + i)
			w.draw(raw, m.space.tokenRows(), int(ids[s.first+i]), 1)
			m.space.set.DecodeF16(x, elements(raw))
			if !m.profile.LearnedPositions {
				continue
			}
			w.draw(raw, m.space.positionRows(), m.profile.PositionOffset+i, 1)
			m.space.set.DecodeF16(position, elements(raw))
			for j, v := range position {
				x[j] += v
			}
		}
	}
}

// norm sets the input of the next sublayer. Norms have weight 1 and bias 0.
func (m *model) norm() {
	m.cpu.Norm(m.in, m.x, device.NormParams{Kind: m.profile.Norm, Eps: m.profile.NormEps})
}

func f16Mat(data []byte, rows, cols int) device.Mat {
	return device.Mat{Data: data, DType: tensor.F16, Rows: rows, Cols: cols}
}

func attentionScale(p config.ModelProfile) float32 {
	return float32(1 / math.Sqrt(float64(p.HeadDim())))
}

// each calls do for the spans of at most size elements that make up n, on all
// threads.
func (m *model) each(n, size int, do func(from, to int)) { parallel.Spans(m.threads, n, size, do) }

// drawRows is how many rows a thread draws at a time.
const drawRows = 32

// draw fills dst with the first n rows.
func (m *model) draw(dst []byte, r rows, n int) { m.space.fill(dst, r, 0, n, m.threads) }

// fill sets dst to rows first to first+n.
func (s *space) fill(dst []byte, r rows, first, n, threads int) {
	pool := sync.Pool{New: func() any { return s.drawer() }}
	parallel.Spans(threads, n, drawRows, func(from, to int) {
		w := pool.Get().(*drawer)
		w.draw(dst[2*from*s.d:2*to*s.d], r, first+from, to-from)
		pool.Put(w)
	})
}

// transpose sets dst [cols, rows] f16 to the transpose of src [rows, cols].
func (m *model) transpose(dst, src []byte, rows, cols int) {
	const side = 32 // of blocks whose cache lines fit in the first level both ways
	to, from := elements(dst), elements(src)
	m.each(cols, side, func(c0, c1 int) {
		for r0 := 0; r0 < rows; r0 += side {
			r1 := min(rows, r0+side)
			for c := c0; c < c1; c++ {
				line := to[c*rows+r0 : c*rows+r1]
				for i := range line {
					line[i] = from[(r0+i)*cols+c]
				}
			}
		}
	})
}

// leastVariance keeps weights finite in a model whose tokens are all alike.
const leastVariance = 1e-6

// scale is the deviation of written elements that makes an update of the
// residual stream as large as it should be, where what multiplies them has
// variances that add up to sum: written vectors are independent, so the
// variances of what they add are too.
func (m *model) scale(sum float64) float64 {
	square := make([]float64, m.x.Rows)
	m.each(m.x.Rows, drawRows, func(from, to int) {
		for t := from; t < to; t++ {
			for _, v := range m.x.Row(t) {
				square[t] += float64(v) * float64(v)
			}
		}
	})
	total := 0.0
	for _, s := range square {
		total += s
	}
	rms := math.Sqrt(total / float64(m.x.Rows*m.x.Cols))
	return update * rms / math.Sqrt(max(sum, leastVariance))
}

// variances is the sum of the columns' variances over the tokens.
func (m *model) variances(a device.Act) (sum float64) {
	_, square := m.moments(a)
	for _, s := range square {
		sum += s
	}
	return sum
}

// moments is the mean and variance of each column over the tokens.
func (m *model) moments(a device.Act) (mean, variance []float64) {
	mean, variance = make([]float64, a.Cols), make([]float64, a.Cols)
	n := float64(a.Rows)
	m.each(a.Cols, 64, func(from, to int) {
		mu, sq := mean[from:to], variance[from:to]
		for t := range a.Rows {
			for j, v := range a.Row(t)[from:to] {
				mu[j] += float64(v)
				sq[j] += float64(v) * float64(v)
			}
		}
		for j := range mu {
			mu[j] /= n
			sq[j] = max(0, sq[j]/n-mu[j]*mu[j])
		}
	})
	return mean, variance
}

// centre sets a sublayer's bias so that on average it adds nothing, and adds
// its output to the residual stream. Without, most of what MLPs add is one
// constant vector, and tokens become alike.
func (m *model) centre(bias []byte) {
	mean, _ := m.moments(m.add)
	b := make([]float32, len(mean))
	for j, v := range mean {
		b[j] = float32(-v)
	}
	m.round(bias, b)
	m.each(m.x.Rows, drawRows, func(from, to int) {
		for t := from; t < to; t++ {
			x := m.x.Row(t)
			for j, v := range m.add.Row(t) {
				x[j] += v + b[j]
			}
		}
	})
}

// round stores v as float16, and sets v to what is stored.
func (m *model) round(dst []byte, v []float32) {
	m.space.set.EncodeF16(elements(dst), v)
	m.space.set.DecodeF16(v, elements(dst))
}
