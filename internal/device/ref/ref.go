// Package ref is the oracle of the other backends: plain loops in float64, one
// thread, and nothing shared with what it judges. It takes elements from package
// tensor, keys and values from package kv, and computes as the textbook says.
//
// It neither rounds activations nor orders sums, so another backend's results are
// near its own and not the same bits. How near they have to be follows from
// [Magnitudes].
package ref

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Backend computes in float64. It is for small operands.
type Backend struct {
	magnitudes bool
	overlapped []func()
}

var _ device.Backend = (*Backend)(nil)

// New makes the oracle.
func New() *Backend { return &Backend{} }

// Magnitudes makes an oracle of rounding errors: it adds absolute values in place
// of the terms of every sum, and leaves out the activation function. A sum's error
// in float32 is at most a small multiple of 2^-24 times that.
func Magnitudes() *Backend { return &Backend{magnitudes: true} }

// Name is "ref".
func (b *Backend) Name() string { return "ref" }

// Close does nothing: there are no threads.
func (b *Backend) Close() {}

// Overlap has f run by the next operation.
func (b *Backend) Overlap(f func()) { b.overlapped = append(b.overlapped, f) }

// begin is the beginning of every operation.
func (b *Backend) begin() {
	for _, f := range b.overlapped {
		f()
	}
	b.overlapped = nil
}

// term is a term of a sum.
func (b *Backend) term(v float64) float64 {
	if b.magnitudes {
		return math.Abs(v)
	}
	return v
}

// dot is the product of a weight row and an activation row.
func (b *Backend) dot(w []float64, x []float32) (sum float64) {
	for k, v := range x {
		sum += b.term(w[k] * float64(v))
	}
	return sum
}

// elements is n elements of type dt.
func elements(raw []byte, dt tensor.DType, n int) []float64 {
	v := make([]float32, n)
	tensor.Decode(v, raw[:dt.RowBytes(n)], dt)
	return wide(v)
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, f := range v {
		w[i] = float64(f)
	}
	return w
}

// Linear sets y to x W^T + bias.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	b.begin()
	size := w.DType.RowBytes(w.Cols)
	for i := range w.Rows {
		row := elements(w.Data[int64(i)*size:], w.DType, w.Cols)
		for t := range x.Rows {
			sum := b.dot(row, x.Row(t))
			if bias != nil {
				sum += b.term(float64(bias[i]))
			}
			y.Row(t)[i] = float32(sum)
		}
	}
}

// Add adds x to y.
func (b *Backend) Add(y, x device.Act) {
	b.begin()
	for t := range x.Rows {
		for i, v := range x.Row(t) {
			y.Row(t)[i] = float32(float64(y.Row(t)[i]) + float64(v))
		}
	}
}

// Gate sets h to the activations of h, times up if there is one.
func (b *Backend) Gate(h, up device.Act, act config.Activation) {
	b.begin()
	for t := range h.Rows {
		for i, v := range h.Row(t) {
			out := activate(act, float64(v), 0)
			if up.Data != nil {
				out *= second(act, float64(up.Row(t)[i]))
			}
			h.Row(t)[i] = float32(out)
		}
	}
}

// Norm sets y to the normalised rows of x.
func (b *Backend) Norm(y, x device.Act, p device.NormParams) {
	b.begin()
	for t := range x.Rows {
		v := wide(x.Row(t))
		mean, variance := 0.0, 0.0
		if p.Kind == config.LayerNorm {
			for _, f := range v {
				mean += f / float64(len(v))
			}
		}
		for _, f := range v {
			variance += (f - mean) * (f - mean) / float64(len(v))
		}
		for i, f := range v {
			n := (f - mean) / math.Sqrt(variance+float64(p.Eps))
			if p.Weight != nil {
				n *= float64(p.Weight[i])
			}
			if p.Bias != nil {
				n += float64(p.Bias[i])
			}
			y.Row(t)[i] = float32(n)
		}
	}
}

// Rotate turns pairs of elements.
func (b *Backend) Rotate(x, angles device.Act, headDim int, interleaved bool) {
	b.begin()
	pairs := angles.Cols / 2
	for t := range x.Rows {
		a := wide(angles.Row(t))
		for at := 0; at < x.Cols; at += headDim {
			head := x.Row(t)[at : at+headDim]
			for i := range pairs {
				j, k := i, i+pairs
				if interleaved {
					j, k = 2*i, 2*i+1
				}
				u, v := float64(head[j]), float64(head[k])
				head[j] = float32(b.term(u*a[i]) + b.term(-v*a[pairs+i]))
				head[k] = float32(b.term(v*a[i]) + b.term(u*a[pairs+i]))
			}
		}
	}
}

// SoftCap holds x below c.
func (b *Backend) SoftCap(x device.Act, c float32) {
	b.begin()
	for t := range x.Rows {
		for i, v := range x.Row(t) {
			x.Row(t)[i] = float32(float64(c) * math.Tanh(float64(v)/float64(c)))
		}
	}
}

// StoreKV stores keys and values token by token.
func (b *Backend) StoreKV(c *kv.Cache, layer int, spans []device.Span, k, v device.Act) {
	b.begin()
	row := 0
	for _, s := range spans {
		for i := range s.N {
			c.Put(layer, s.Seq, s.Pos+i, k.Row(row), v.Row(row))
			row++
		}
	}
}

// Attend sets y to softmax(scale q K^T) V, head by head.
func (b *Backend) Attend(y, q device.Act, c *kv.Cache, layer int, spans []device.Span, p device.AttendParams) {
	b.begin()
	row := 0
	for _, s := range spans {
		for pos := s.Pos; pos < s.Pos+s.N; pos++ {
			for head := range p.Heads {
				at, from := head*p.HeadDim, 0
				if p.Window > 0 {
					from = max(0, pos+1-p.Window)
				}
				attend(y.Row(row)[at:at+p.HeadDim], q.Row(row)[at:at+p.HeadDim], pos+1-from, p, head, func(i int) (key, value []float64) {
					k, v := c.Row(layer, s.Seq, from+i, head/(p.Heads/p.KVHeads))
					return elements(k, c.DType(), p.HeadDim), elements(v, c.DType(), p.HeadDim)
				})
			}
			row++
		}
	}
}

// attend is the attention of one query of a head to n tokens.
func attend(y, q []float32, n int, p device.AttendParams, head int, token func(i int) (key, value []float64)) {
	weights, values := make([]float64, n), make([][]float64, n)
	top := math.Inf(-1)
	for i := range weights {
		var key []float64
		key, values[i] = token(i)
		for k, f := range q {
			weights[i] += float64(f) * key[k] * float64(p.Scale)
		}
		if c := float64(p.SoftCap); c > 0 {
			weights[i] = c * math.Tanh(weights[i]/c)
		}
		top = max(top, weights[i])
	}
	sum := 0.0
	if p.Sinks != nil {
		sink := float64(p.Sinks[head])
		top = max(top, sink)
		sum = math.Exp(sink - top)
	}
	for i, score := range weights {
		weights[i] = math.Exp(score - top)
		sum += weights[i]
	}
	for k := range y {
		out := 0.0
		for i, w := range weights {
			out += w / sum * values[i][k]
		}
		y[k] = float32(out)
	}
}

// Sketch sets y to what the codes of w say of x W^T, plus a bias.
func (b *Backend) Sketch(y, x device.Act, w device.SketchMat) {
	b.begin()
	for i := range w.Rows {
		row := make([]float64, w.Cols)
		for k := range row {
			row[k] = code(w.Codes[i*w.RowBytes:], w.Bits, k) * float64(w.Scales[i])
		}
		for t := range x.Rows {
			sum := b.dot(row, x.Row(t))
			if w.Bias != nil {
				sum += b.term(float64(w.Bias[i]))
			}
			y.Row(t)[i] = float32(sum)
		}
	}
}

// code is what code k of a row of a sketch stands for, less the row's scale. Of 4
// bits, a block of 32 bytes holds 64 codes: the low halves of its bytes, then the
// high ones. Of 3 bits, a block of 96 bytes holds 256 codes: their lower two bits
// in two runs of 32 bytes, in each of which a byte has one pair of bits of every
// 32nd code, and then their highest bits in 32 bytes, likewise.
func code(row []byte, bits, k int) float64 {
	if bits != 3 {
		block, e := row[k/64*32:], k%64
		if e < 32 {
			return float64(block[e]&15) - 8
		}
		return float64(block[e-32]>>4) - 8
	}
	block, e := row[k/256*96:], k%256
	low := block[e/128*32+e%32] >> (2 * (e % 128 / 32)) & 3
	high := block[64+e%32] >> (e / 32) & 1
	return float64(low) + 4*float64(high) - 3.5
}

// Up sets the activations of the neurons that sel names.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	b.begin()
	product := func(i int32, t, part int, bias []float32) float64 {
		sum := b.dot(elements(s.Vec(w.Slots[i], part), s.DType, s.Cols), x.Row(t))
		if bias != nil {
			sum += b.term(float64(bias[w.IDs[i]]))
		}
		return sum
	}
	for _, i := range sel {
		for t := range x.Rows {
			out := &h[int(i)*x.Rows+t]
			if *out = 0; !w.Wanted(int(i), t) {
				continue
			}
			a := product(i, t, 0, w.Bias)
			if !b.magnitudes {
				a = activate(w.Act, a, float64(w.Threshold))
			}
			if s.Parts == 3 && (a != 0 || !w.Act.Sparse()) {
				up := product(i, t, 1, w.SecondBias)
				if !b.magnitudes {
					up = second(w.Act, up)
				}
				a *= up
			}
			*out = float32(a)
		}
	}
}

// Down adds h times the last part of each neuron to the outputs of the tokens
// that want it. With SkipZero an activation of 0 adds nothing, even to what is
// no number.
func (b *Backend) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	b.begin()
	sums := make([]float64, y.Rows*y.Cols)
	for t := range y.Rows {
		for j, v := range y.Row(t) {
			sums[t*y.Cols+j] = b.term(float64(v))
		}
	}
	for i, slot := range w.Slots {
		row := elements(s.Vec(slot, s.Parts-1), s.DType, s.Cols)
		for t := range y.Rows {
			a := float64(h[i*y.Rows+t])
			if a == 0 && w.SkipZero || !w.Wanted(i, t) {
				continue
			}
			for j, v := range row {
				sums[t*y.Cols+j] += b.term(a * v)
			}
		}
	}
	for t := range y.Rows {
		for j := range y.Cols {
			y.Row(t)[j] = float32(sums[t*y.Cols+j])
		}
	}
}

// Experts computes token after token.
func (b *Backend) Experts(y, x device.Act, w *device.ExpertWork, sel []int32) {
	b.begin()
	for _, i := range sel {
		product := func(v []float32, part int) (y []float32) {
			p := w.Parts[part]
			for r := range p.Rows {
				size := p.DType.RowBytes(p.Cols)
				sum := b.dot(elements(w.Data[i][part][int64(r)*size:], p.DType, p.Cols), v)
				if bias := w.Bias[part]; bias != nil {
					sum += b.term(float64(bias[int(w.IDs[i])*p.Rows+r]))
				}
				y = append(y, float32(sum))
			}
			return y
		}
		for pair := w.First[i]; pair < w.First[i+1]; pair++ {
			v := x.Row(int(w.Tokens[pair]))
			h := product(v, 0)
			for j, up := range product(v, 1) {
				if b.magnitudes {
					h[j] *= up
				} else {
					h[j] = float32(activate(w.Act, float64(h[j]), 0) * second(w.Act, float64(up)))
				}
			}
			copy(y.Row(int(pair)), product(h, 2))
		}
	}
}

// Combine adds term by term.
func (b *Backend) Combine(y, out device.Act, rows []int32, weights []float32, k int) {
	b.begin()
	for t := range y.Rows {
		for i, v := range y.Row(t) {
			sum := b.term(float64(v))
			for j, row := range rows[t*k : (t+1)*k] {
				if row >= 0 {
					sum += b.term(float64(weights[t*k+j]) * float64(out.Row(int(row))[i]))
				}
			}
			y.Row(t)[i] = float32(sum)
		}
	}
}

// Clip holds x within -c to c.
func (b *Backend) Clip(x device.Act, c float32) {
	b.begin()
	for t := range x.Rows {
		for i, v := range x.Row(t) {
			x.Row(t)[i] = float32(math.Min(math.Max(float64(v), -float64(c)), float64(c)))
		}
	}
}

// second is what multiplies a gate's activation, of a product with the second part.
func second(a config.Activation, x float64) float64 {
	switch a {
	case config.DReLU:
		return activate(a, x, 0)
	case config.ClampedSwiGLU:
		return math.Min(math.Max(x, -7), 7) + 1
	}
	return x
}

// activate is the activation functions as papers and transformers' activations.py
// define them; threshold is FATReLU's.
func activate(a config.Activation, x, threshold float64) float64 {
	switch a {
	case config.GELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	case config.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
	case config.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case config.SiLU:
		return x / (1 + math.Exp(-x))
	case config.ClampedSwiGLU:
		return activate(config.QuickGELU, math.Min(x, 7), 0)
	case config.ReLU, config.DReLU:
		threshold = 0
	}
	if x > threshold || x != x {
		return x
	}
	return 0
}
