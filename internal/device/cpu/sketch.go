package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Sketch quantises the activations to 8 bits and multiplies in integers, so
// its result is the same on every instruction set.
func (b *Backend) Sketch(y, x device.Act, w device.SketchMat) {
	s := &b.sk
	s.dot, s.dot4, s.padded, s.centre = s.k.DotU4S8, s.k.Dot4U4S8, 2*w.RowBytes, 16
	if w.Bits == 3 {
		s.dot, s.dot4, s.padded, s.centre = s.k.DotU3S8, s.k.Dot4U3S8, w.RowBytes*8/3, 7
	}
	b.codes = grow(b.codes, x.Rows*s.padded)
	b.scales, b.sums = grow(b.scales, x.Rows), grow(b.sums, x.Rows)
	for t := range x.Rows {
		q := b.codes[t*s.padded : (t+1)*s.padded]
		clear(q[w.Cols:])
		b.scales[t], b.sums[t] = b.k.QuantizeS8(q[:w.Cols], x.Row(t))
	}
	s.y, s.w = y, w
	s.codes, s.scales, s.sums = b.codes, b.scales, b.sums
	b.pool.run(s, w.Rows, b.units(int64(w.RowBytes)))
}

type sketch struct {
	k      *kernel.Set
	dot    func(w []byte, x []int8) int32
	dot4   func(w []byte, x []int8, stride int) [4]int32
	padded int   // elements of a row of codes
	centre int32 // twice the code that stands for 0
	y      device.Act
	w      device.SketchMat
	codes  []int8
	scales []float32
	sums   []int32
}

// sketchRows is how many rows stay in a core's cache while the tokens pass by.
const sketchRows = 64

func (s *sketch) run(lo, hi, _ int) {
	for ; lo < hi; lo += sketchRows {
		end := min(lo+sketchRows, hi)
		t := 0
		for ; t+4 <= s.y.Rows; t += 4 {
			for r := lo; r < end; r++ {
				for i, sum := range s.dot4(s.row(r), s.codes[t*s.padded:], s.padded) {
					s.put(r, t+i, sum)
				}
			}
		}
		for ; t < s.y.Rows; t++ {
			for r := lo; r < end; r++ {
				s.put(r, t, s.dot(s.row(r), s.codes[t*s.padded:(t+1)*s.padded]))
			}
		}
	}
}

func (s *sketch) row(r int) []byte { return s.w.Codes[r*s.w.RowBytes : (r+1)*s.w.RowBytes] }

// put sets the estimate of row r for token t from the sum of their products.
// The centre is a whole code or lies halfway between two, so twice the sum is
// an integer.
func (s *sketch) put(r, t int, sum int32) {
	v := 0.5 * float32(2*sum-s.centre*s.sums[t]) * s.scales[t] * s.w.Scales[r]
	if s.w.Bias != nil {
		v += s.w.Bias[r]
	}
	s.y.Data[t*s.y.Stride+r] = v
}
