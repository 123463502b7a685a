package tensor

import (
	"encoding/binary"
	"math"
)

// QuantBlock is the elements of a block of the simpler types.
//
// The blocks are GGUF's, byte for byte (ggml-common.h), and round as its
// reference does (ggml-quants.c, quantize_row_*_ref). Most begin with a scale d in
// F16; a value is the product of scale and code, plus a least value m where there
// is one. Bytes of two nibbles hold element j in the lower and 16+j in the upper
// one; a fifth bit of element j is bit j of h.
//
//	Q8_0    d, 32 int8 q               q[j] d
//	Q4_0    d, 16 bytes of nibbles     (q[j]-8) d
//	Q4_1    d, m, 16 bytes of nibbles  q[j] d + m
//	Q5_0    d, h, 16 bytes of nibbles  (q[j]-16) d
//	Q5_1    d, m, h, 16 bytes of ...   q[j] d + m
//	IQ4_NL  d, 16 bytes of nibbles     iq4[q[j]] d
//	MXFP4   e, 16 bytes of nibbles     fp4[q[j]] 2^(e-128), e one byte
const QuantBlock = 32

const (
	q8Bytes  = 2 + QuantBlock
	q4Bytes  = 2 + QuantBlock/2
	q41Bytes = 2 + q4Bytes
	q5Bytes  = 4 + q4Bytes
	q51Bytes = 4 + q41Bytes
	iq4Bytes = q4Bytes
	mx4Bytes = 1 + QuantBlock/2
)

// iq4 is what the codes of IQ4_NL and IQ4_XS stand for.
var iq4 = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// fp4 is twice what the codes of MXFP4, E2M1 floats, stand for. The reference
// has no negative zero.
var fp4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

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

// half is the F16 at the start of b.
func half(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }

// Products that are added to are rounded on their own, by a conversion: some
// processors would fuse the two otherwise.

func decodeQ41(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[q41Bytes:] {
		d, m := half(src), half(src[2:])
		for j, q := range src[4:q41Bytes] {
			dst[j] = float32(d*float32(q&15)) + m
			dst[j+QuantBlock/2] = float32(d*float32(q>>4)) + m
		}
	}
}

func decodeQ5(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[q5Bytes:] {
		d, h := half(src), binary.LittleEndian.Uint32(src[2:])
		for j, q := range src[6:q5Bytes] {
			dst[j] = d * float32(int(uint32(q&15)|h>>j<<4&16)-16)
			dst[j+QuantBlock/2] = d * float32(int(uint32(q>>4)|h>>(j+16)<<4&16)-16)
		}
	}
}

func decodeQ51(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[q51Bytes:] {
		d, m, h := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:])
		for j, q := range src[8:q51Bytes] {
			dst[j] = float32(d*float32(uint32(q&15)|h>>j<<4&16)) + m
			dst[j+QuantBlock/2] = float32(d*float32(uint32(q>>4)|h>>(j+16)<<4&16)) + m
		}
	}
}

func decodeIQ4NL(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[iq4Bytes:] {
		nibbles(dst, src[2:iq4Bytes], half(src), &iq4)
	}
}

func decodeMXFP4(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QuantBlock:], src[mx4Bytes:] {
		// 2^(e-128); the two least are subnormal.
		bits := uint32(src[0]-1) << 23
		if src[0] < 2 {
			bits = 0x200000 << src[0]
		}
		nibbles(dst, src[1:mx4Bytes], math.Float32frombits(bits), &fp4)
	}
}

// nibbles sets a block of dst to the values that the nibbles q stand for.
func nibbles(dst []float32, q []byte, d float32, table *[16]float32) {
	for j, q := range q {
		dst[j] = d * table[q&15]
		dst[j+QuantBlock/2] = d * table[q>>4]
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

// zeroPoint is the codes of a block of half the range for zero: the largest
// magnitude gets the code 0 and the others are rounded to nearest, half up; what
// rounds beyond the range is its end.
func zeroPoint(codes *[QuantBlock]byte, src []float32, zero int32) (d float32) {
	d = largest(src) / float32(-zero)
	inv, up := inverse(d), float32(zero)+0.5
	for j, v := range src {
		codes[j] = byte(zero)
		if inv != 0 {
			codes[j] = byte(min(2*zero-1, int32(float32(v*inv)+up)))
		}
	}
	return d
}

// leastValue is the codes of a block from its least value, which gets 0, to its
// largest, which gets top.
func leastValue(codes *[QuantBlock]byte, src []float32, top float32) (d, m float32) {
	if bad := largest(src); bad != bad {
		return bad, bad
	}
	m, most := src[0], src[0]
	for _, v := range src { // of zeros of both signs the first, unlike min
		if v < m {
			m = v
		}
		if v > most {
			most = v
		}
	}
	d = (most - m) / top
	inv := inverse(d)
	for j, v := range src {
		codes[j] = byte(min(top, float32((v-m)*inv)+0.5))
	}
	return d, m
}

// putNibbles stores the lower four bits of codes.
func putNibbles(dst []byte, codes *[QuantBlock]byte) {
	for j := range dst[:QuantBlock/2] {
		dst[j] = codes[j]&15 | codes[j+QuantBlock/2]<<4
	}
}

// putFifth stores the fifth bits of codes.
func putFifth(dst []byte, codes *[QuantBlock]byte) {
	var h uint32
	for j, c := range codes {
		h |= uint32(c>>4&1) << j
	}
	binary.LittleEndian.PutUint32(dst, h)
}

func putHalf(dst []byte, v float32) { binary.LittleEndian.PutUint16(dst, F32ToF16(v)) }

func encodeQ4(dst []byte, src []float32) {
	var codes [QuantBlock]byte
	for ; len(src) > 0; dst, src = dst[q4Bytes:], src[QuantBlock:] {
		putHalf(dst, zeroPoint(&codes, src[:QuantBlock], 8))
		putNibbles(dst[2:], &codes)
	}
}

func encodeQ5(dst []byte, src []float32) {
	var codes [QuantBlock]byte
	for ; len(src) > 0; dst, src = dst[q5Bytes:], src[QuantBlock:] {
		putHalf(dst, zeroPoint(&codes, src[:QuantBlock], 16))
		putFifth(dst[2:], &codes)
		putNibbles(dst[6:], &codes)
	}
}

func encodeQ41(dst []byte, src []float32) {
	var codes [QuantBlock]byte
	for ; len(src) > 0; dst, src = dst[q41Bytes:], src[QuantBlock:] {
		d, m := leastValue(&codes, src[:QuantBlock], 15)
		putHalf(dst, d)
		putHalf(dst[2:], m)
		putNibbles(dst[4:], &codes)
	}
}

func encodeQ51(dst []byte, src []float32) {
	var codes [QuantBlock]byte
	for ; len(src) > 0; dst, src = dst[q51Bytes:], src[QuantBlock:] {
		d, m := leastValue(&codes, src[:QuantBlock], 31)
		putHalf(dst, d)
		putHalf(dst[2:], m)
		putFifth(dst[4:], &codes)
		putNibbles(dst[8:], &codes)
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
