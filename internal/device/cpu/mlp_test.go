package cpu_test

import (
	"math"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// What was made of an input serves again only where the caller says so, and
// where the latest call, which may have named no neuron, had the same.
func TestUpSameInput(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		m := newMLP(9, 128, 2, 20, 50, dt, false)
		mat := device.Mat{Data: m.slots.Data[:dt.RowBytes(128)], DType: dt, Rows: 1, Cols: 128}
		other := newRandom(3).act(9, 128)
		backends(t, func(t *testing.T, b device.Backend) {
			x, h := clone(m.x), m.blank(m.tokens())
			b.Up(h, x, m.slots, m.work, m.all())
			copy(x.Data, other.Data)
			b.Up(h, x, m.slots, m.work, nil)
			again := m.work
			again.SameInput = true
			b.Up(h, x, m.slots, again, m.all())
			want := m.blank(m.tokens())
			b.Up(want, other, m.slots, m.work, m.all())
			sameBits(t, "after a call for nothing", vec(h), vec(want))
			b.Linear(emptyAct(9, 1), m.x, mat, nil)
			b.Up(h, other, m.slots, again, m.all())
			sameBits(t, "after another product", vec(h), vec(want))
		})
	}
}

// A token that is not a number stays one instead of turning into zeros.
func TestUpKeepsNaN(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		m := newMLP(2, 64, 2, 20, 50, dt, false)
		m.x.Row(1)[7] = float32(math.NaN())
		backends(t, func(t *testing.T, b device.Backend) {
			h := m.blank(m.tokens())
			b.Up(h, m.x, m.slots, m.work, m.all())
			for i := range 20 {
				if h[2*i] != h[2*i] || h[2*i+1] == h[2*i+1] {
					t.Fatalf("%v: neuron %d: got %v, want a number and NaN", dt, i, h[2*i:2*i+2])
				}
			}
		})
	}
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
