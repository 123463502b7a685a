package tensor

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the values, a super block is off by no more on average than plain
// rounding to its codes and scales would be.
func TestSuperBlockError(t *testing.T) {
	levels := map[DType]float64{Q4_K: 15, Q5_K: 31, Q6_K: 63}
	rapid.Check(t, func(t *rapid.T) {
		v := make([]float32, SuperBlock)
		kinds := rapid.SampledFrom([]float32{0, 1e-3, 1, 1000})
		for g := 0; g < SuperBlock; g += 16 { // groups of any sizes beside each other
			scale, shift := kinds.Draw(t, "scale"), kinds.Draw(t, "shift")
			for i, x := range rapid.SliceOfN(rapid.Float32Range(-1, 1), 16, 16).Draw(t, "v") {
				v[g+i] = x*scale + shift
			}
		}
		most := 0.0
		for _, x := range v {
			most = max(most, math.Abs(float64(x)))
		}
		for d, top := range levels {
			b := make([]byte, d.BlockBytes())
			Encode(b, v, d)
			bound := 2*most/top + 2*most/63 + 1e-5
			if got := rms(v, b, d); got > bound {
				t.Fatalf("%v: off by %g on average where the largest is %g, want at most %g", d, got, most, bound)
			}
		}
	})
}
