package tensor

import (
	"encoding/binary"
	"math"
)

// QuantBlock is the elements of one block of a quantised type.
//
// The blocks are GGUF's, byte for byte (ggml-quants.c, quantize_row_q8_0_ref
// and quantize_row_q4_0_ref). Both begin with a scale d in F16:
//
//	Q8_0  d, 32 int8 q                  value j is q[j] d
//	Q4_0  d, 16 bytes b of two nibbles  value j < 16 is (b[j]&15 - 8) d,
//	                                    value j+16 is (b[j]>>4 - 8) d
const QuantBlock = 32

const (
	q8Bytes = 2 + QuantBlock
	q4Bytes = 2 + QuantBlock/2
)

// Quantised reports whether d is stored in blocks of QuantBlock elements.
func (d DType) Quantised() bool { return d == Q8_0 || d == Q4_0 }

// OfRow is the type that a matrix of d gets whose rows have n elements: d, but
// F16 for a quantised d whose blocks do not fill the rows.
func (d DType) OfRow(n int) DType {
	if d.Quantised() && n%QuantBlock != 0 {
		return F16
	}
	return d
}

// decodeQ8 sets dst, whole blocks, to the values of src.
func decodeQ8(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[q8Bytes:] {
		d := F16ToF32(binary.LittleEndian.Uint16(src))
		for j, q := range src[2:q8Bytes] {
			dst[j] = float32(int8(q)) * d
		}
	}
}

// decodeQ4 sets dst, whole blocks, to the values of src.
func decodeQ4(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[q4Bytes:] {
		d := F16ToF32(binary.LittleEndian.Uint16(src))
		for j, q := range src[2:q4Bytes] {
			dst[j] = float32(int(q&15)-8) * d
			dst[j+QuantBlock/2] = float32(int(q>>4)-8) * d
		}
	}
}

// encodeQ8 gives the largest magnitude the code 127 and rounds the others to
// nearest, half away from zero.
func encodeQ8(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[q8Bytes:], src[QuantBlock:] {
		d := largest(src[:QuantBlock])
		if d < 0 {
			d = -d
		}
		d /= 127
		inv := inverse(d)
		binary.LittleEndian.PutUint16(dst, F32ToF16(d))
		if inv == 0 {
			clear(dst[2:q8Bytes])
			continue
		}
		for j, v := range src[:QuantBlock] {
			// The sum is exact wherever it matters, so this is C's roundf.
			v = float32(v * inv)
			dst[2+j] = byte(int8(float64(v) + math.Copysign(0.5, float64(v))))
		}
	}
}

// encodeQ4 gives the largest magnitude the code 0, which stands for -8, and
// rounds the others to nearest, half up; what rounds to 16 is 15.
func encodeQ4(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[q4Bytes:], src[QuantBlock:] {
		d := largest(src[:QuantBlock]) / -8
		inv := inverse(d)
		binary.LittleEndian.PutUint16(dst, F32ToF16(d))
		if inv == 0 {
			for j := range dst[2:q4Bytes] {
				dst[2+j] = 0x88
			}
			continue
		}
		code := func(v float32) byte {
			// The conversion keeps the product apart from the sum: some
			// processors would fuse them and round otherwise.
			return byte(min(15, int8(float32(v*inv)+8.5)))
		}
		for j := range QuantBlock / 2 {
			dst[2+j] = code(src[j]) | code(src[j+QuantBlock/2])<<4
		}
	}
}

// largest is the first value of the largest magnitude; NaN where one of v is
// not finite, so that a block with such a value is NaN throughout and cannot
// pass for a number.
func largest(v []float32) float32 {
	var top, abs float32
	for _, f := range v {
		a := f
		if a < 0 {
			a = -a
		}
		if !(a <= math.MaxFloat32) {
			return float32(math.NaN())
		}
		if a > abs {
			top, abs = f, a
		}
	}
	return top
}

// inverse is 1/d, and 0 where that is no number: the codes of a block whose
// scale is 0, NaN or too small to have an inverse all stand for zero.
func inverse(d float32) float32 {
	inv := 1 / d
	if inv-inv != 0 { // infinite or NaN
		return 0
	}
	return inv
}
