package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// experts is a backend's memory for experts.
type experts struct {
	x, gate, up []float32
}

// Experts goes expert by expert, each for all its tokens at once.
func (b *Backend) Experts(y, x device.Act, w *device.ExpertWork, sel []int32) {
	e, width := &b.experts, w.Parts[0].Rows
	for _, i := range sel {
		lo, n := int(w.First[i]), int(w.First[i+1]-w.First[i])
		if n == 0 {
			continue
		}
		e.x, e.gate, e.up = grow(e.x, n*x.Cols), grow(e.gate, n*width), grow(e.up, n*width)
		in := device.Act{Data: e.x, Rows: n, Cols: x.Cols, Stride: x.Cols}
		for j, t := range w.Tokens[lo : lo+n] {
			copy(in.Row(j), x.Row(int(t)))
		}
		gate := device.Act{Data: e.gate, Rows: n, Cols: width, Stride: width}
		up := device.Act{Data: e.up, Rows: n, Cols: width, Stride: width}
		b.expertPart(gate, in, w, i, 0)
		b.expertPart(up, in, w, i, 1)
		b.Gate(gate, up, w.Act)
		b.expertPart(y.Rowspan(lo, n), gate, w, i, 2)
	}
}

// expertPart sets y to a part of the i-th expert times x.
func (b *Backend) expertPart(y, x device.Act, w *device.ExpertWork, i int32, part int) {
	p := w.Parts[part]
	var bias []float32
	if all := w.Bias[part]; all != nil {
		bias = all[int(w.IDs[i])*p.Rows:][:p.Rows]
	}
	b.Linear(y, x, device.Mat{Data: w.Data[i][part], DType: p.DType, Rows: p.Rows, Cols: p.Cols}, bias)
}

// Combine goes token by token.
func (b *Backend) Combine(y, out device.Act, rows []int32, weights []float32, k int) {
	b.combine = combine{&b.k, y, out, rows, weights, k}
	b.pool.run(&b.combine, y.Rows, b.units(int64(4*k*y.Cols)))
}

type combine struct {
	k       *kernel.Set
	y, out  device.Act
	rows    []int32
	weights []float32
	top     int
}

func (c *combine) run(lo, hi, _ int) {
	for t := lo; t < hi; t++ {
		for j := t * c.top; j < (t+1)*c.top; j++ {
			if row := c.rows[j]; row >= 0 {
				c.k.AxpyF32(c.y.Row(t), c.weights[j], c.out.Row(int(row)), nil)
			}
		}
	}
}
