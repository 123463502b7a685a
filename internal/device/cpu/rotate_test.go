package cpu_test

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/device"
)

// rotations are turned heads, whole and in part, with either kind of pairs, and soft
// caps.
func rotations() (ops []operation) {
	for _, s := range []struct{ heads, headDim, dims int }{{3, 32, 32}, {1, 15, 8}, {4, 64, 16}, {2, 10, 6}} {
		for _, interleaved := range []bool{false, true} {
			r := newRandom(uint64(s.headDim))
			const tokens = 9
			x, angles := r.act(tokens, s.heads*s.headDim), device.NewAct(tokens, s.dims)
			for t := range tokens {
				for i := range s.dims / 2 {
					sin, cos := math.Sincos(r.NormFloat64())
					angles.Row(t)[i], angles.Row(t)[s.dims/2+i] = float32(cos), float32(sin)
				}
			}
			ops = append(ops, operation{
				name: fmt.Sprintf("Rotate/%v/%v", s, interleaved), tokens: tokens,
				run: func(b device.Backend, first, n int) device.Act {
					y := clone(x.Rowspan(first, n))
					b.Rotate(y, angles.Rowspan(first, n), s.headDim, interleaved)
					return y
				},
				bound: func(t, _ int, _ float64) float64 { return 16 * u },
			})
		}
	}
	x := newRandom(3).act(5, 300)
	return append(ops, operation{
		name: "SoftCap", tokens: 5,
		run: func(b device.Backend, first, n int) device.Act {
			y := clone(x.Rowspan(first, n))
			b.SoftCap(y, 0.7)
			return y
		},
		bound: func(_, _ int, want float64) float64 { return u },
	})
}
