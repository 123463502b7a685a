package kernel

import "math"

// F16ToF32 returns the value of a float16, exactly; NaN turns quiet.
func F16ToF32(h uint16) float32 {
	// In place of a float32 the bits are a value 2^112 too small, subnormals
	// too. Infinity and NaN need their exponent widened.
	const scale = 1 << (127 - 15)
	bits := math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13) * scale)
	if h&0x7c00 == 0x7c00 {
		bits |= 0x7f800000
		if h&0x3ff != 0 {
			bits |= 1 << 22
		}
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

// F32ToF16 returns the float16 nearest to f, half to even. From 65520 on that
// is infinity; NaN turns quiet and keeps its upper payload bits.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign, abs := uint16(bits>>31)<<15, bits&^(1<<31)
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00 | uint16(abs>>13)&0x3ff
	case abs >= 0x477ff000: // 65520 and infinity
		return sign | 0x7c00
	case abs < 0x38800000: // below 2^-14: 0.5 has the unit of float16's subnormals
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+0.5)-0x3f000000)
	}
	abs += 0xfff + abs>>13&1
	return sign | uint16((abs-(127-15)<<23)>>13)
}

// BF16ToF32 returns the value of a bfloat16, exactly.
func BF16ToF32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// F32ToBF16 returns the bfloat16 nearest to f, half to even; NaN turns quiet
// and keeps its upper payload bits.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func decodeF16(dst []float32, src []uint16) {
	for k, v := range src {
		dst[k] = F16ToF32(v)
	}
}

func decodeBF16(dst []float32, src []uint16) {
	for k, v := range src {
		dst[k] = BF16ToF32(v)
	}
}

func encodeF16(dst []uint16, src []float32) {
	for k, v := range src {
		dst[k] = F32ToF16(v)
	}
}

func encodeBF16(dst []uint16, src []float32) {
	for k, v := range src {
		dst[k] = F32ToBF16(v)
	}
}
