// Package tensor holds the element types that weights are stored in and their
// exact conversion to and from float32, the type all arithmetic is done in.
//
// Bytes are little-endian and rows are contiguous, as in the safetensors
// format. Widening (F16 and BF16 to float32) is exact; narrowing rounds to
// nearest, ties to even, with overflow going to infinity, as IEEE 754 and the
// reference implementation do.
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// DType is the type of a stored element.
type DType uint8

// The element types of OPT checkpoints.
const (
	F32  DType = iota // IEEE 754 binary32
	F16               // IEEE 754 binary16
	BF16              // the upper half of a binary32 (bfloat16)
)

var names = [...]string{F32: "F32", F16: "F16", BF16: "BF16"}

// String returns the name that safetensors uses: F32, F16 or BF16.
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
	return 0, fmt.Errorf("tensor: parse dtype: got %q, want f32, f16 or bf16", s)
}

// RowBytes is the size in bytes of n consecutive elements.
func (d DType) RowBytes(n int) int64 {
	if d == F32 {
		return 4 * int64(n)
	}
	return 2 * int64(n)
}

// Decode widens the first len(dst) elements of src, which are of type d.
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
	}
}

// Encode narrows all of src to type d at the start of dst.
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
	}
}

// F16ToF32 widens a binary16, exactly.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch exp {
	case 0:
		// A subnormal is man * 2^-24, which a float32 holds exactly.
		v := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// F32ToF16 rounds v to the nearest binary16, ties to even. NaN stays NaN.
func F32ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 2^16 and above, infinity included
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: subnormal or zero
		// Adding 0.5 puts the value's last binary16 bit (2^-24) at the end of
		// the float32 mantissa, so the addition itself rounds to even.
		r := math.Float32bits(math.Float32frombits(b) + 0.5)
		return sign | uint16(r-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-0x38000000)>>13)
}

// BF16ToF32 widens a bfloat16, exactly.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds v to the nearest bfloat16, ties to even. NaN stays NaN.
func F32ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
