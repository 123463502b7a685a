package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Sketch quantises the activations to 8 bits and multiplies in integers, so
// its result is the same on every instruction set.
func (b *Backend) Sketch(y, x device.Act, w device.SketchMat) {
	padded := 2 * w.RowBytes
	b.codes = grow(b.codes, x.Rows*padded)
	b.scales, b.sums = grow(b.scales, x.Rows), grow(b.sums, x.Rows)
	for t := range x.Rows {
		q := b.codes[t*padded : (t+1)*padded]
		clear(q[w.Cols:])
		b.scales[t], b.sums[t] = b.k.QuantizeS8(q[:w.Cols], x.Row(t))
	}
	b.sk.y, b.sk.w = y, w
	b.sk.codes, b.sk.scales, b.sk.sums = b.codes, b.scales, b.sums
	b.pool.run(&b.sk, w.Rows, b.units(int64(w.RowBytes)))
}

type sketch struct {
	k      *kernel.Set
	y      device.Act
	w      device.SketchMat
	codes  []int8
	scales []float32
	sums   []int32
}

// sketchRows is how many rows stay in a core's cache while the tokens pass by.
const sketchRows = 64

func (s *sketch) run(lo, hi, _ int) {
	padded := 2 * s.w.RowBytes
	for ; lo < hi; lo += sketchRows {
		end := min(lo+sketchRows, hi)
		t := 0
		for ; t+4 <= s.y.Rows; t += 4 {
			for r := lo; r < end; r++ {
				for i, sum := range s.k.Dot4U4S8(s.row(r), s.codes[t*padded:], padded) {
					s.put(r, t+i, sum)
				}
			}
		}
		for ; t < s.y.Rows; t++ {
			for r := lo; r < end; r++ {
				s.put(r, t, s.k.DotU4S8(s.row(r), s.codes[t*padded:(t+1)*padded]))
			}
		}
	}
}

func (s *sketch) row(r int) []byte { return s.w.Codes[r*s.w.RowBytes : (r+1)*s.w.RowBytes] }

// put sets the estimate of row r for token t from the sum of their products.
func (s *sketch) put(r, t int, sum int32) {
	v := float32(sum-8*s.sums[t]) * s.scales[t] * s.w.Scales[r]
	if s.w.Bias != nil {
		v += s.w.Bias[r]
	}
	s.y.Data[t*s.y.Stride+r] = v
}
