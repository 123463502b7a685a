package cpu

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Gate goes element by element.
func (b *Backend) Gate(h, up device.Act, act config.Activation) {
	b.gate = gate{&b.k, h, up, act}
	const cost = 8 // of an element's activation, in bytes of weights
	b.pool.run(&b.gate, h.Rows*h.Cols, b.units(cost))
}

type gate struct {
	k     *kernel.Set
	h, up device.Act
	act   config.Activation
}

// run computes elements lo to hi, counted row by row.
func (g *gate) run(lo, hi, _ int) {
	for lo < hi {
		row, at := lo/g.h.Cols, lo%g.h.Cols
		n := min(hi-lo, g.h.Cols-at)
		h, up := g.h.Row(row)[at:at+n], []float32(nil)
		if g.up.Data != nil {
			up = g.up.Row(row)[at : at+n]
		}
		g.some(h, up)
		lo += n
	}
}

// some computes h, times up if it is not nil.
func (g *gate) some(h, up []float32) {
	switch g.act {
	case config.SiLU:
		g.k.Swish(h, up, 1, 0)
		return
	case config.QuickGELU:
		g.k.Swish(h, up, 1.702, 0)
		return
	case config.GELUTanh:
		g.k.Swish(h, up, kernel.GELULinear, kernel.GELUCubic)
		return
	case config.ClampedSwiGLU:
		for i, v := range h {
			if v > swigluLimit {
				h[i] = swigluLimit
			}
		}
		for i, v := range up {
			up[i] = second(g.act, v)
		}
		g.k.Swish(h, up, 1.702, 0)
		return
	}
	for i, v := range h {
		h[i] = activate(g.act, v, 0)
	}
	for i, v := range up {
		h[i] *= second(g.act, v)
	}
}

// second is what of a product with the second part multiplies a gate's activation.
func second(a config.Activation, v float32) float32 {
	switch a {
	case config.DReLU:
		return activate(a, v, 0)
	case config.ClampedSwiGLU:
		return clamp(v, swigluLimit) + 1
	}
	return v
}

// swigluLimit is where ClampedSwiGLU clamps.
const swigluLimit = 7

// clamp is what is nearest to v within -c to c; NaN stays.
func clamp(v, c float32) float32 {
	switch {
	case v > c:
		return c
	case v < -c:
		return -c
	}
	return v
}

// Clip goes element by element.
func (b *Backend) Clip(x device.Act, c float32) {
	b.clip = clip{x, c}
	b.pool.run(&b.clip, x.Rows, b.units(tensor.F32.RowBytes(x.Cols)))
}

type clip struct {
	x device.Act
	c float32
}

func (c *clip) run(lo, hi, _ int) {
	for r := lo; r < hi; r++ {
		row := c.x.Row(r)
		for i, v := range row {
			row[i] = clamp(v, c.c)
		}
	}
}

// activate applies a model's activation function to one pre-activation, with
// the formulas of transformers' activations.py; threshold is FATReLU's. NaN stays
// NaN.
func activate(a config.Activation, x, threshold float32) float32 {
	switch a {
	case config.ReLU, config.DReLU:
		if x <= 0 {
			return 0
		}
		return x
	case config.FATReLU:
		if x <= threshold {
			return 0
		}
		return x
	case config.GELU:
		return float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
	case config.GELUTanh:
		v := float64(x)
		return float32(0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v))))
	case config.QuickGELU:
		return float32(float64(x) / (1 + math.Exp(-1.702*float64(x))))
	case config.SiLU:
		return float32(float64(x) / (1 + math.Exp(-float64(x))))
	}
	panic("cpu: activation " + string(a) + " passed validation")
}
