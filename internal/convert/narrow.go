package convert

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// narrowStep is how many elements are converted at a time, so that the float32
// values between stay in the first-level cache.
const narrowStep = 2048

// narrow converts all of src from type s, which is not quantised, to type d at
// the start of dst: whole blocks where d is quantised. The error says which value
// cannot be had and leaves it to the caller to name the tensor.
func narrow(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	ss := int(s.RowBytes(1))
	n := len(src) / ss
	dst = dst[:d.RowBytes(n)]
	if s == d {
		copy(dst, src)
	} else {
		var buf [narrowStep]float32
		for i := 0; i < n; i += narrowStep {
			v := buf[:min(narrowStep, n-i)]
			tensor.Decode(v, src[i*ss:], s)
			tensor.Encode(dst[d.RowBytes(i):], v, d)
		}
	}
	if !finite(dst, d) {
		return explain(dst, d, src, s)
	}
	return nil
}

// explain names the first value that did not stay finite, of a block the
// largest.
func explain(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	ss, step := int(s.RowBytes(1)), d.BlockElems()
	v := make([]float32, step)
	for i := 0; i < len(src)/ss; i += step {
		if finite(dst[d.RowBytes(i):d.RowBytes(i+step)], d) {
			continue
		}
		tensor.Decode(v, src[i*ss:], s)
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

// finite reports whether no element of b is NaN or infinite, that is, has an
// exponent of all ones; of a quantised b, whether no scale is. It looks at eight
// bytes at a time: adding one at the exponent's lowest bit carries into the sign's
// place only from all ones, and never into the next element.
func finite(b []byte, d tensor.DType) bool {
	if d.Quantised() {
		for n := d.BlockBytes(); len(b) >= n; b = b[n:] {
			if !finite(b[:2], tensor.F16) {
				return false
			}
		}
		return true
	}
	var mask, one, sign uint64
	switch d {
	case tensor.F32:
		mask, one, sign = 0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000
	case tensor.F16:
		mask, one, sign = 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000
	case tensor.BF16:
		mask, one, sign = 0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080, 0x8000_8000_8000_8000
	}
	var bad uint64
	for ; len(b) >= 8; b = b[8:] {
		bad |= binary.LittleEndian.Uint64(b)&mask + one
	}
	var last [8]byte
	copy(last[:], b)
	bad |= binary.LittleEndian.Uint64(last[:])&mask + one
	return bad&sign == 0
}
