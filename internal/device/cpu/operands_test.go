package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// u is half a unit in the last place of 1: what one rounding to float32 may
// change, relatively.
const u = 1.0 / (1 << 24)

// sumError is the relative error of a kernel's dot product of n elements; see
// package kernel.
func sumError(n int) float64 { return float64(n/64+21) * u }

var (
	floatTypes = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}
	dtypes     = append(slices.Clip(floatTypes), tensor.Q8_0, tensor.Q4_0)
)

// matTypes are all types, which matrices may have.
func matTypes() (all []tensor.DType) {
	for dt := range tensor.DType(tensor.DTypes) {
		all = append(all, dt)
	}
	return all
}

// fits reports whether a type can have rows of cols elements.
func fits(dt tensor.DType, cols int) bool { return dt.OfRow(cols) == dt }

// backends runs f over every set of kernels with 1, 2 and 3 threads, with work
// cut so finely that all threads take part. A short run has plain Go with 1, the
// others with 3.
func backends(t *testing.T, f func(t *testing.T, b device.Backend), options ...cpu.Option) {
	for _, k := range kernel.All() {
		for threads := 1; threads <= 3; threads++ {
			if testing.Short() && threads != 3 && (threads != 1 || k.Name != kernel.Go().Name) {
				continue
			}
			t.Run(fmt.Sprintf("%s/threads=%d", k.Name, threads), func(t *testing.T) {
				b := cpu.NewFine(k, threads, options...)
				defer b.Close()
				if want := "cpu/" + k.Name; b.Name() != want {
					t.Errorf("got name %q, want %q", b.Name(), want)
				}
				f(t, b)
			})
		}
	}
}

// random is a source of operands that are the same in every run.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

// floats is n normal numbers.
func (r random) floats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// unset marks elements that no operation may leave or touch.
const unset = -12345

// act is a [rows, cols] Act of normal numbers inside wider rows.
func (r random) act(rows, cols int) device.Act {
	a := emptyAct(rows, cols)
	for i := range rows {
		copy(a.Row(i), r.floats(cols))
	}
	return a
}

// emptyAct is a [rows, cols] Act, unset, inside wider rows that are unset too.
func emptyAct(rows, cols int) device.Act {
	a := device.NewAct(rows, cols+5)
	for i := range a.Data {
		a.Data[i] = unset
	}
	return a.Colspan(2, cols)
}

// clone is a copy of a, margins included.
func clone(a device.Act) device.Act {
	a.Data = append([]float32(nil), a.Data...)
	return a
}

// weights is n normal numbers stored as dt or, where it is only read, blocks of
// random bits that are numbers of a like size.
func (r random) weights(n int, dt tensor.DType) []byte {
	raw := make([]byte, dt.RowBytes(n))
	if dt.Encodes() {
		tensor.Encode(raw, r.floats(n), dt)
		return raw
	}
	values := make([]float32, dt.BlockElems())
	for block := range slices.Chunk(raw, dt.BlockBytes()) {
		for top := float32(0); !(top > 1e-2 && top < 100); {
			for i := range block {
				block[i] = byte(r.Uint32())
			}
			tensor.Decode(values, block, dt)
			top = 0
			for _, v := range values {
				top = max(top, float32(math.Abs(float64(v))))
			}
		}
	}
	return raw
}

// mat is a [rows, cols] matrix.
func (r random) mat(rows, cols int, dt tensor.DType) device.Mat {
	return device.Mat{Data: r.weights(rows*cols, dt), DType: dt, Rows: rows, Cols: cols}
}

// mlp is some neurons of a layer in slots, and tokens that want some of them.
type mlp struct {
	slots device.Slots
	work  device.Work
	x, y  device.Act // [tokens, cols]; y is what Down adds to
}

// newMLP has neurons of a layer of ffn in slots without order. With masked,
// each token wants each neuron with probability 0.4.
func newMLP(tokens, cols, parts, neurons, ffn int, dt tensor.DType, masked bool) *mlp {
	r := newRandom(uint64(tokens*cols+neurons) + uint64(dt))
	m := &mlp{x: r.act(tokens, cols), y: r.act(tokens, cols)}
	slots := neurons + 3
	vecBytes := dt.RowBytes(cols)
	m.slots = device.Slots{Stride: (int64(parts)*vecBytes + 63) / 64 * 64, DType: dt, Cols: cols, Parts: parts}
	m.slots.Data = make([]byte, int64(slots)*m.slots.Stride)
	for s := range slots {
		copy(m.slots.Bundle(int32(s)), r.weights(parts*cols, dt))
	}
	m.work = device.Work{Bias: r.floats(ffn), SecondBias: r.floats(ffn), Act: config.ReLU, SkipZero: true}
	for _, id := range r.Perm(ffn)[:neurons] {
		m.work.IDs = append(m.work.IDs, int32(id))
	}
	slices.Sort(m.work.IDs)
	for _, s := range r.Perm(slots)[:neurons] {
		m.work.Slots = append(m.work.Slots, int32(s))
	}
	if masked {
		m.work.WantWords = (tokens + 63) / 64
		m.work.Wants = make([]uint64, neurons*m.work.WantWords)
		for i := range neurons {
			for tok := range tokens {
				if r.Float64() < 0.4 {
					m.work.Wants[i*m.work.WantWords+tok/64] |= 1 << (tok % 64)
				}
			}
		}
	}
	return m
}

// products is a part of the neurons times x, with its bias: [tokens, neurons].
func (m *mlp) products(b device.Backend, x device.Act, part int) device.Act {
	w := device.Mat{DType: m.slots.DType, Rows: len(m.work.IDs), Cols: m.slots.Cols}
	var bias []float32
	from := [][]float32{m.work.Bias, m.work.SecondBias}[part]
	for i, id := range m.work.IDs {
		w.Data = append(w.Data, m.slots.Vec(m.work.Slots[i], part)...)
		if from != nil {
			bias = append(bias, from[id])
		}
	}
	y := device.NewAct(x.Rows, w.Rows)
	b.Linear(y, x, w, bias)
	return y
}

func (m *mlp) tokens() int { return m.x.Rows }

// all names every neuron of the work.
func (m *mlp) all() []int32 {
	sel := make([]int32, len(m.work.IDs))
	for i := range sel {
		sel[i] = int32(i)
	}
	return sel
}

// blank is an h for so many tokens that Up has not set.
func (m *mlp) blank(tokens int) []float32 {
	h := make([]float32, len(m.work.IDs)*tokens)
	for i := range h {
		h[i] = unset
	}
	return h
}

// of is the work of n tokens from first on.
func (m *mlp) of(first, n int) device.Work {
	w := m.work
	if w.Wants == nil {
		return w
	}
	w.WantWords = (n + 63) / 64
	w.Wants = make([]uint64, len(w.IDs)*w.WantWords)
	for i := range w.IDs {
		for t := range n {
			if m.work.Wanted(i, first+t) {
				w.Wants[i*w.WantWords+t/64] |= 1 << (t % 64)
			}
		}
	}
	return w
}

// transposed is [rows, cols] of v, which is [cols, rows].
func transposed(v []float32, rows, cols int) device.Act {
	a := device.NewAct(rows, cols)
	for i, f := range v {
		a.Row(i % rows)[i/rows] = f
	}
	return a
}

// checkMargins looks between an emptyAct's rows, as far as its Data goes.
func checkMargins(t *testing.T, a device.Act) {
	t.Helper()
	for i, v := range a.Data {
		if i%a.Stride >= a.Cols && v != unset {
			t.Fatalf("element %d, beside the rows: got %v, want it untouched", i, v)
		}
	}
}

// sameBits fails unless got and want have the same bits.
func sameBits(t *testing.T, what string, got, want device.Act) {
	t.Helper()
	for i := range want.Rows {
		g, w := got.Row(i), want.Row(i)
		for j := range w {
			if math.Float32bits(g[j]) != math.Float32bits(w[j]) {
				t.Fatalf("%s: row %d column %d: got %v, want %v, bit for bit", what, i, j, g[j], w[j])
			}
		}
	}
}

// vec is a one-row view of v.
func vec(v []float32) device.Act {
	return device.Act{Data: v, Rows: 1, Cols: len(v), Stride: len(v)}
}
