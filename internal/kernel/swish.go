package kernel

import "math"

// What Set.Swish takes for GELU by tanh: 1+tanh(u) is twice the sigmoid of 2u, and u
// is sqrt(2/pi)(x+0.044715*x*x*x).
const (
	GELULinear = 1.5957691216057308
	GELUCubic  = 0.044715 * GELULinear
)

// swish is Set.Swish. With a = exp(-|z|) the sigmoid of z is 1/(1+a) where z is not
// negative and a/(1+a) elsewhere.
func swish(h, up []float32, linear, cubic float32) {
	for i, x := range h {
		z := x * fma32(min(float32(x*x), 1e30), cubic, linear)
		a, v := exp32(-float32(math.Abs(float64(z)))), x
		if math.Signbit(float64(z)) {
			v = x * a
		}
		v /= 1 + a
		if len(up) > 0 {
			v *= up[i]
		}
		h[i] = v
	}
}

// swishBy makes a Swish of one for multiples of eight elements.
func swishBy(eights func(h, up []float32, linear, cubic float32)) func(h, up []float32, linear, cubic float32) {
	return func(h, up []float32, linear, cubic float32) {
		whole := len(h) &^ 7
		if len(up) == 0 {
			eights(h[:whole], nil, linear, cubic)
			swish(h[whole:], nil, linear, cubic)
			return
		}
		eights(h[:whole], up[:whole:len(h)], linear, cubic)
		swish(h[whole:], up[whole:len(h)], linear, cubic)
	}
}
