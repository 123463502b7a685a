// Package tensor holds the element types that weights are stored in and their
// exact conversion to and from float32, the type all arithmetic is done in.
//
// Bytes are little-endian and rows are contiguous, as in the safetensors
// format. Widening (F16 and BF16 to float32) is exact; narrowing rounds to
// nearest, ties to even, with overflow going to infinity, as IEEE 754 and the
// reference implementation do. The quantised types round as GGUF's reference
// does, and exist in whole blocks only: see [QuantBlock].
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// DType is the type of a stored element.
type DType uint8

// The element types: those of checkpoints, then the quantised ones.
const (
	F32  DType = iota // IEEE 754 binary32
	F16               // IEEE 754 binary16
	BF16              // the upper half of a binary32 (bfloat16)
	Q8_0              // blocks of 32: 8-bit integers and a scale
	Q4_0              // blocks of 32: 4-bit integers and a scale
)

var names = [...]string{F32: "F32", F16: "F16", BF16: "BF16", Q8_0: "Q8_0", Q4_0: "Q4_0"}

// String returns the name that safetensors uses, F32, F16 or BF16, or GGUF's,
// Q8_0 or Q4_0.
func (d DType) String() string {
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Valid reports whether d is one of the constants of this package.
func (d DType) Valid() bool { return int(d) < len(names) }

// ParseDType returns the type named s, in either case.
func ParseDType(s string) (DType, error) {
	for d, n := range names {
		if strings.EqualFold(s, n) {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("tensor: parse dtype: got %q, want f32, f16, bf16, q8_0 or q4_0", s)
}

// RowBytes is the size in bytes of n consecutive elements, of a quantised type
// that of as many blocks as n elements take.
func (d DType) RowBytes(n int) int64 {
	blocks := (int64(n) + QuantBlock - 1) / QuantBlock
	switch d {
	case F32:
		return 4 * int64(n)
	case Q8_0:
		return q8Bytes * blocks
	case Q4_0:
		return q4Bytes * blocks
	}
	return 2 * int64(n)
}

// Decode widens the first len(dst) elements of src, which are of type d: whole
// blocks where d is quantised.
func Decode(dst []float32, src []byte, d DType) {
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case Q8_0:
		decodeQ8(dst, src)
	case Q4_0:
		decodeQ4(dst, src)
	}
}

// Encode narrows all of src, whole blocks where d is quantised, to type d at
// the start of dst. A block with a value that is not finite is all NaN.
func Encode(dst []byte, src []float32, d DType) {
	switch d {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(v))
		}
	case Q8_0:
		encodeQ8(dst, src)
	case Q4_0:
		encodeQ4(dst, src)
	}
}

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
