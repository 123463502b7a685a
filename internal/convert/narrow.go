package convert

import (
	"encoding/binary"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// narrowStep is how many elements are converted at a time, so that the float32
// values between stay in the first-level cache.
const narrowStep = 2048

// narrow converts all of src from type s to type d at the start of dst. The
// error says which value cannot be had and leaves it to the caller to name the
// tensor.
func narrow(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	ss, ds := int(s.RowBytes(1)), int(d.RowBytes(1))
	n := len(src) / ss
	dst = dst[:n*ds]
	if s == d {
		copy(dst, src)
	} else {
		var buf [narrowStep]float32
		for i := 0; i < n; i += narrowStep {
			v := buf[:min(narrowStep, n-i)]
			tensor.Decode(v, src[i*ss:], s)
			tensor.Encode(dst[i*ds:], v, d)
		}
	}
	if !finite(dst, d) {
		return explain(dst, d, src, s)
	}
	return nil
}

// explain names the first value that did not stay finite.
func explain(dst []byte, d tensor.DType, src []byte, s tensor.DType) error {
	ss, ds := int(s.RowBytes(1)), int(d.RowBytes(1))
	var v [1]float32
	for i := range len(src) / ss {
		if finite(dst[i*ds:(i+1)*ds], d) {
			continue
		}
		tensor.Decode(v[:], src[i*ss:], s)
		if !finite(src[i*ss:(i+1)*ss], s) {
			return fmt.Errorf("got the value %v, want finite weights", v[0])
		}
		return fmt.Errorf("got the value %v, which overflows %v, want a wider element type (f32 or bf16)", v[0], d)
	}
	return nil
}

// finite reports whether no element of b is NaN or infinite, that is, has an
// exponent of all ones. It looks at eight bytes at a time: adding one at the
// exponent's lowest bit carries into the sign's place only from all ones, and
// never into the next element.
func finite(b []byte, d tensor.DType) bool {
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
