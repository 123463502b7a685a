package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Rotate splits the tokens.
func (b *Backend) Rotate(x, angles device.Act, headDim int, interleaved bool) {
	b.rotate = rotate{x, angles, headDim, interleaved}
	b.pool.run(&b.rotate, x.Rows, b.units(2*tensor.F32.RowBytes(x.Cols)))
}

type rotate struct {
	x, angles   device.Act
	headDim     int
	interleaved bool
}

func (r *rotate) run(lo, hi, _ int) {
	pairs := r.angles.Cols / 2
	for t := lo; t < hi; t++ {
		cos, sin := r.angles.Row(t)[:pairs], r.angles.Row(t)[pairs:]
		for row := r.x.Row(t); len(row) > 0; row = row[r.headDim:] {
			if r.interleaved {
				turnNeighbours(row[:2*pairs], cos, sin)
			} else {
				turnHalves(row[:pairs], row[pairs:2*pairs], cos, sin)
			}
		}
	}
}

// turnHalves turns the pairs (a[i], b[i]). Conversions keep compilers from fusing.
func turnHalves(a, b, cos, sin []float32) {
	b, cos, sin = b[:len(a)], cos[:len(a)], sin[:len(a)]
	for i, u := range a {
		v := b[i]
		a[i] = float32(u*cos[i]) - float32(v*sin[i])
		b[i] = float32(v*cos[i]) + float32(u*sin[i])
	}
}

// turnNeighbours turns the pairs (x[2i], x[2i+1]).
func turnNeighbours(x, cos, sin []float32) {
	sin = sin[:len(cos)]
	for i, c := range cos {
		u, v, s := x[2*i], x[2*i+1], sin[i]
		x[2*i] = float32(u*c) - float32(v*s)
		x[2*i+1] = float32(v*c) + float32(u*s)
	}
}

// SoftCap goes element by element.
func (b *Backend) SoftCap(x device.Act, c float32) {
	b.capped = capped{x, c}
	const cost = 32 // of an element's tanh, in bytes of weights
	b.pool.run(&b.capped, x.Cols, b.units(cost*int64(x.Rows)))
}

type capped struct {
	x device.Act
	c float32
}

func (p *capped) run(lo, hi, _ int) {
	for t := range p.x.Rows {
		softCap(p.x.Row(t)[lo:hi], 1, p.c)
	}
}
