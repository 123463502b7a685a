package cpu

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Norm normalises with sums in float64, which leave little doubt about order.
func (b *Backend) Norm(y, x device.Act, p device.NormParams) {
	b.norms.y, b.norms.x, b.norms.p = y, x, p
	const passes = 4 // over a row, at least
	b.pool.run(&b.norms, x.Rows, b.units(passes*tensor.F32.RowBytes(x.Cols)))
}

type norms struct {
	y, x device.Act
	p    device.NormParams
}

func (n *norms) run(lo, hi, _ int) {
	for r := lo; r < hi; r++ {
		norm(n.y.Row(r), n.x.Row(r), n.p)
	}
}

func norm(y, x []float32, p device.NormParams) {
	mean := 0.0
	if p.Kind == config.LayerNorm {
		mean = sum(x) / float64(len(x))
	}
	inv := 1 / math.Sqrt(squares(x, mean)/float64(len(x))+float64(p.Eps))
	y = y[:len(x)]
	for i, v := range x {
		y[i] = float32((float64(v) - mean) * inv)
	}
	if p.Weight != nil {
		for i, w := range p.Weight[:len(y)] {
			y[i] *= w
		}
	}
	if p.Bias != nil {
		for i, b := range p.Bias[:len(y)] {
			y[i] += b
		}
	}
}

// sum adds element k to partial sum k mod 4, so that one addition need not
// wait for another.
func sum(x []float32) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a += float64(x[0])
		b += float64(x[1])
		c += float64(x[2])
		d += float64(x[3])
	}
	for _, v := range x {
		a += float64(v)
	}
	return (a + b) + (c + d)
}

// squares adds the squares of the distances to mean as sum adds elements.
func squares(x []float32, mean float64) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		e, f, g, h := float64(x[0])-mean, float64(x[1])-mean, float64(x[2])-mean, float64(x[3])-mean
		a += float64(e * e) // the conversion keeps compilers from fusing
		b += float64(f * f)
		c += float64(g * g)
		d += float64(h * h)
	}
	for _, v := range x {
		e := float64(v) - mean
		a += float64(e * e)
	}
	return (a + b) + (c + d)
}
