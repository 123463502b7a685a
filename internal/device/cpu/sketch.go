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
	b.pool.run(&b.sk, w.Rows, b.units(int64(w.RowBytes*x.Rows)))
}

type sketch struct {
	k      *kernel.Set
	y      device.Act
	w      device.SketchMat
	codes  []int8
	scales []float32
	sums   []int32
}

func (s *sketch) run(lo, hi, _ int) {
	padded := 2 * s.w.RowBytes
	for r := lo; r < hi; r++ {
		row := s.w.Codes[r*s.w.RowBytes : (r+1)*s.w.RowBytes]
		bias := float32(0)
		if s.w.Bias != nil {
			bias = s.w.Bias[r]
		}
		for t := range s.y.Rows {
			sum := s.k.DotU4S8(row, s.codes[t*padded:(t+1)*padded]) - 8*s.sums[t]
			s.y.Data[t*s.y.Stride+r] = float32(sum)*s.scales[t]*s.w.Scales[r] + bias
		}
	}
}
