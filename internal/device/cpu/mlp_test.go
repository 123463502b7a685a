package cpu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// mlp is some neurons of a layer in slots, and tokens that want some of them.
type mlp struct {
	slots device.Slots
	parts []float64 // [slot, part, cols] as stored
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
		raw, wide := r.weights(parts*cols, dt)
		copy(m.slots.Bundle(int32(s)), raw)
		m.parts = append(m.parts, wide...)
	}
	m.work = device.Work{Bias: r.floats(ffn), Act: config.ReLU, SkipZero: true}
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

func (m *mlp) tokens() int { return m.x.Rows }

// vec is one vector of the i-th neuron.
func (m *mlp) vec(i, part int) []float64 {
	at := (int(m.work.Slots[i])*m.slots.Parts + part) * m.slots.Cols
	return m.parts[at : at+m.slots.Cols]
}

// all names every neuron of the work.
func (m *mlp) all() []int32 {
	sel := make([]int32, len(m.work.IDs))
	for i := range sel {
		sel[i] = int32(i)
	}
	return sel
}

// blank is an h that Up has not set.
func (m *mlp) blank() []float32 {
	h := make([]float32, len(m.work.IDs)*m.tokens())
	for i := range h {
		h[i] = unset
	}
	return h
}

// exactUp is h [neurons, tokens].
func (m *mlp) exactUp(act func(float64) float64) exact {
	want := newExact(len(m.work.IDs), m.tokens())
	for i, id := range m.work.IDs {
		for tok := range m.tokens() {
			if !m.work.Wanted(i, tok) {
				continue
			}
			var sum, abs float64
			for k, w := range m.vec(i, 0) {
				p := w * float64(m.x.Row(tok)[k])
				sum += p
				abs += math.Abs(p)
			}
			if m.work.Bias != nil {
				sum += float64(m.work.Bias[id])
			}
			// No activation function here is steeper than 1.2.
			value := act(sum)
			want.set(i, tok, value, 1.2*(sumError(m.slots.Cols)*abs+u*math.Abs(sum)+roundError(m.slots.DType, m.x.Row(tok), m.vec(i, 0)))+u*math.Abs(value))
		}
	}
	return want
}

// exactDown is y + h^T fc2, for the h that there is.
func (m *mlp) exactDown(h []float32) exact {
	want := newExact(m.tokens(), m.slots.Cols)
	for tok := range m.tokens() {
		for j, y := range m.y.Row(tok) {
			sum, abs := float64(y), math.Abs(float64(y))
			for i := range m.work.IDs {
				p := float64(h[i*m.tokens()+tok]) * m.vec(i, m.slots.Parts-1)[j]
				sum += p
				abs += math.Abs(p)
			}
			want.set(tok, j, sum, float64(len(m.work.IDs)+2)*u*abs)
		}
	}
	return want
}

func relu(x float64) float64 { return max(x, 0) }

// eachMLP runs f on MLPs of odd sizes, of every type, with and without masks.
func eachMLP(t *testing.T, f func(t *testing.T, m *mlp)) {
	for _, s := range []struct{ tokens, cols, parts, neurons int }{
		{1, 60, 2, 41}, {5, 60, 2, 41}, {130, 60, 2, 9}, {3, 192, 3, 30}, {1, 769, 2, 5}, {2, 60, 2, 0}, {9, 96, 2, 41}, {1, 256, 2, 9},
		{6, 128, 2, 41}, {50, 160, 2, 13}, {8, 300, 3, 45}, {7, 128, 2, 530},
		{70, 256, 2, 70}, {34, 160, 2, 30},
	} {
		for _, dt := range dtypes {
			if !fits(dt, s.cols) {
				continue
			}
			for _, masked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%v/masked=%v", s, dt, masked), func(t *testing.T) {
					f(t, newMLP(s.tokens, s.cols, s.parts, s.neurons, max(50, s.neurons), dt, masked))
				})
			}
		}
	}
}

func TestUp(t *testing.T) {
	eachMLP(t, func(t *testing.T, m *mlp) {
		neurons, tokens := len(m.work.IDs), m.tokens()
		want := m.exactUp(relu)
		oracleH := m.blank()
		oracle(func(b device.Backend) { b.Up(oracleH, m.x, m.slots, m.work, m.all()) })
		backends(t, func(t *testing.T, b device.Backend) {
			h := m.blank()
			b.Up(h, m.x, m.slots, m.work, m.all())
			check(t, device.Act{Data: h, Rows: neurons, Cols: tokens, Stride: tokens}, want)
			sameBits(t, "against the oracle", vec(h), vec(oracleH))

			// In two calls and no order, as neurons arrive.
			order := m.all()
			newRandom(9).Shuffle(neurons, func(i, j int) { order[i], order[j] = order[j], order[i] })
			late := m.blank()
			b.Up(late, m.x, m.slots, m.work, order[:neurons/3])
			for _, i := range order[neurons/3:] {
				for tok := range tokens {
					if late[int(i)*tokens+tok] != unset {
						t.Fatalf("neuron %d was set and not named", i)
					}
				}
			}
			again := m.work
			again.SameInput = true
			b.Up(late, m.x, m.slots, again, order[neurons/3:])
			sameBits(t, "in two calls, in another order", vec(late), vec(h))

			// One token at a time, which wants what it wanted.
			for tok := range tokens {
				one := *m
				one.x = m.x.Rowspan(tok, 1)
				one.work.Wants, one.work.WantWords = nil, 0
				single := one.blank()
				b.Up(single, one.x, m.slots, one.work, m.all())
				for i, v := range single {
					if g := h[i*tokens+tok]; m.work.Wanted(i, tok) && math.Float32bits(g) != math.Float32bits(v) {
						t.Fatalf("token %d neuron %d: got %v among others, %v alone", tok, i, g, v)
					}
				}
			}
		})
	})
}

// What was made of an input serves again only where the caller says so, and
// where the latest call, which may have named no neuron, had the same.
func TestUpSameInput(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		m := newMLP(9, 128, 2, 20, 50, dt, false)
		mat := device.Mat{Data: m.slots.Data[:dt.RowBytes(128)], DType: dt, Rows: 1, Cols: 128}
		other := newRandom(3).act(9, 128)
		backends(t, func(t *testing.T, b device.Backend) {
			x, h := clone(m.x), m.blank()
			b.Up(h, x, m.slots, m.work, m.all())
			copy(x.Data, other.Data)
			b.Up(h, x, m.slots, m.work, nil)
			again := m.work
			again.SameInput = true
			b.Up(h, x, m.slots, again, m.all())
			want := m.blank()
			b.Up(want, other, m.slots, m.work, m.all())
			sameBits(t, "after a call for nothing", vec(h), vec(want))
			b.Linear(emptyAct(9, 1), m.x, mat, nil)
			b.Up(h, other, m.slots, again, m.all())
			sameBits(t, "after another product", vec(h), vec(want))
		})
	}
}

func TestUpWithoutBias(t *testing.T) {
	m := newMLP(3, 60, 2, 20, 50, tensor.F32, false)
	m.work.Bias = nil
	backends(t, func(t *testing.T, b device.Backend) {
		h := m.blank()
		b.Up(h, m.x, m.slots, m.work, m.all())
		check(t, device.Act{Data: h, Rows: 20, Cols: 3, Stride: 3}, m.exactUp(relu))
	})
}

// The formulas of transformers' activations.py.
func TestActivations(t *testing.T) {
	m := newMLP(3, 60, 2, 40, 50, tensor.F32, false)
	for name, f := range map[config.Activation]func(float64) float64{
		config.ReLU: relu,
		config.GELU: func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) },
		config.GELUTanh: func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
		},
		config.QuickGELU: func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) },
		config.SiLU:      func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	} {
		m.work.Act = name
		want := m.exactUp(f)
		backends(t, func(t *testing.T, b device.Backend) {
			h := m.blank()
			b.Up(h, m.x, m.slots, m.work, m.all())
			check(t, device.Act{Data: h, Rows: 40, Cols: 3, Stride: 3}, want)
		})
	}
}

// A token that is not a number stays one instead of turning into zeros.
func TestUpKeepsNaN(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		m := newMLP(2, 64, 2, 20, 50, dt, false)
		m.x.Row(1)[7] = float32(math.NaN())
		backends(t, func(t *testing.T, b device.Backend) {
			h := m.blank()
			b.Up(h, m.x, m.slots, m.work, m.all())
			for i := range 20 {
				if h[2*i] != h[2*i] || h[2*i+1] == h[2*i+1] {
					t.Fatalf("%v: neuron %d: got %v, want a number and NaN", dt, i, h[2*i:2*i+2])
				}
			}
		})
	}
}

func TestDown(t *testing.T) {
	eachMLP(t, testDown)
}

// The same with zeros multiplied.
func TestDownDense(t *testing.T) {
	eachMLP(t, func(t *testing.T, m *mlp) {
		m.work.SkipZero = false
		testDown(t, m)
	})
}

func testDown(t *testing.T, m *mlp) {
	neurons, tokens := len(m.work.IDs), m.tokens()
	h := m.blank()
	oracleY := clone(m.y)
	oracle(func(b device.Backend) {
		b.Up(h, m.x, m.slots, m.work, m.all())
		b.Down(oracleY, h, m.slots, m.work)
	})
	want := m.exactDown(h)
	backends(t, func(t *testing.T, b device.Backend) {
		y := clone(m.y)
		b.Down(y, h, m.slots, m.work)
		check(t, y, want)
		sameBits(t, "against the oracle", y, oracleY)

		// Segment after segment, as tiers or a stream's buffers hold them.
		segments := clone(m.y)
		for lo := 0; lo < neurons; {
			hi := min(neurons, lo+1+lo/2)
			w := m.work
			w.IDs, w.Slots = w.IDs[lo:hi], w.Slots[lo:hi]
			if w.Wants != nil {
				w.Wants = w.Wants[lo*w.WantWords : hi*w.WantWords]
			}
			b.Down(segments, h[lo*tokens:hi*tokens], m.slots, w)
			lo = hi
		}
		sameBits(t, "in segments", segments, y)

		single := clone(m.y)
		for tok := range tokens {
			one := make([]float32, neurons)
			for i := range one {
				one[i] = h[i*tokens+tok]
			}
			w := m.work
			w.Wants, w.WantWords = nil, 0
			b.Down(single.Rowspan(tok, 1), one, m.slots, w)
		}
		sameBits(t, "one token at a time", single, y)
	})
}

// Leaving out zeros is sparse execution, exact for finite weights. Dense
// execution multiplies with them, so that an infinite weight shows, but only
// for tokens that want its neuron.
func TestDownZeros(t *testing.T) {
	m := newMLP(2, 60, 2, 1, 1, tensor.F32, false)
	tensor.Encode(m.slots.Vec(m.work.Slots[0], 1), []float32{float32(math.Inf(1))}, tensor.F32)
	m.work.Wants, m.work.WantWords = []uint64{0b10}, 1
	h := []float32{0, 0}
	backends(t, func(t *testing.T, b device.Backend) {
		for _, skip := range []bool{true, false} {
			w := m.work
			w.SkipZero = skip
			y := clone(m.y)
			b.Down(y, h, m.slots, w)
			sameBits(t, "of a token that wants nothing", y.Top(1), m.y.Top(1))
			if nan := math.IsNaN(float64(y.Row(1)[0])); nan == skip {
				t.Errorf("SkipZero %v: got %v for 0 times infinity", skip, y.Row(1)[0])
			}
			if math.Float32bits(y.Row(1)[1]) != math.Float32bits(m.y.Row(1)[1]) {
				t.Errorf("SkipZero %v: got %v for 0 times a number, want %v", skip, y.Row(1)[1], m.y.Row(1)[1])
			}
		}
	})
}
