package convert

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// narrowStep is how many elements are converted at a time, so that the float32
// values between stay in the first-level cache.
const narrowStep = 2048

// narrow converts all of src from type s to type d at the start of dst, whole
// blocks of both. The error says which value cannot be had and leaves it to the
// caller to name the tensor.
func narrow(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	n := len(src) / s.BlockBytes() * s.BlockElems()
	dst = dst[:d.RowBytes(n)]
	if s == d {
		copy(dst, src)
	} else {
		var buf [narrowStep]float32
		for i := 0; i < n; i += narrowStep {
			v := buf[:min(narrowStep, n-i)]
			tensor.Decode(v, src[s.RowBytes(i):], s)
			tensor.Encode(dst[d.RowBytes(i):], v, d)
		}
	}
	if !tensor.Finite(dst, d) {
		return explain(dst, d, src, s)
	}
	return nil
}

// explain names the first value that did not stay finite, of a block the
// largest.
func explain(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	step := max(s.BlockElems(), d.BlockElems())
	v := make([]float32, step)
	for i := 0; i < len(src)/s.BlockBytes()*s.BlockElems(); i += step {
		if tensor.Finite(dst[d.RowBytes(i):d.RowBytes(i+step)], d) {
			continue
		}
		tensor.Decode(v, src[s.RowBytes(i):], s)
		most := v[0]
		for _, f := range v {
			if !(math.Abs(float64(f)) <= math.MaxFloat32) {
				return fmt.Errorf("got the value %v, want finite weights", f)
			}
			if math.Abs(float64(f)) > math.Abs(float64(most)) {
				most = f
			}
		}
		return fmt.Errorf("got the value %v, which overflows %v, want a wider element type (f32 or bf16)", most, d)
	}
	return nil
}
