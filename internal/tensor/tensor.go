// Package tensor holds the element types that weights are stored in and their
// exact conversion to and from float32, the type all arithmetic is done in.
//
// Bytes are little-endian and rows are contiguous, as in the safetensors
// format. Widening (F16 and BF16 to float32) is exact; narrowing rounds to
// nearest, ties to even, with overflow going to infinity, as IEEE 754 and the
// reference implementation do. The quantised types round as GGUF's reference
// does, and exist in whole blocks only: see [QuantBlock] and [SuperBlock]. All
// that is known of a type is its line of one table, which everything here and
// above looks things up in.
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// DType is the type of a stored element.
type DType uint8

// The element types: those of checkpoints, then GGUF's blocks. Their numbers are
// this program's own; GGML gives those of GGUF files.
const (
	F32    DType = iota // IEEE 754 binary32
	F16                 // IEEE 754 binary16
	BF16                // the upper half of a binary32 (bfloat16)
	Q8_0                // blocks of 32: 8-bit integers and a scale
	Q4_0                // blocks of 32: 4-bit integers and a scale
	Q4_1                // blocks of 32: 4-bit integers, a scale and a least value
	Q5_0                // blocks of 32: 5-bit integers and a scale
	Q5_1                // blocks of 32: 5-bit integers, a scale and a least value
	Q2_K                // blocks of 256: 2-bit integers, a scale and a least value for every 16
	Q3_K                // blocks of 256: 3-bit integers and a scale for every 16
	Q4_K                // blocks of 256: 4-bit integers, a scale and a least value for every 32
	Q5_K                // blocks of 256: 5-bit integers, a scale and a least value for every 32
	Q6_K                // blocks of 256: 6-bit integers and a scale for every 16
	IQ4_NL              // blocks of 32: 4-bit indices of a table and a scale
	IQ4_XS              // blocks of 256: 4-bit indices of a table and a scale for every 32
	MXFP4               // blocks of 32: 4-bit floats and an exponent
)

// format is all that is known of a type.
type format struct {
	name   string
	elems  int // elements of a block
	bytes  int // bytes of a block
	ggml   uint32
	other  DType // of rows that blocks do not fill
	halves []int // where in a block its scales in F16 are
	decode func(dst []float32, src []byte)
	encode func(dst []byte, src []float32) // nil where this program only reads the type
}

var formats = [...]format{
	F32:    {"F32", 1, 4, 0, F32, nil, decodeF32, encodeF32},
	F16:    {"F16", 1, 2, 1, F16, nil, decodeF16, encodeF16},
	BF16:   {"BF16", 1, 2, 30, BF16, nil, decodeBF16, encodeBF16},
	Q8_0:   {"Q8_0", QuantBlock, q8Bytes, 8, F16, []int{0}, decodeQ8, encodeQ8},
	Q4_0:   {"Q4_0", QuantBlock, q4Bytes, 2, F16, []int{0}, decodeQ4, encodeQ4},
	Q4_1:   {"Q4_1", QuantBlock, q41Bytes, 3, F16, []int{0, 2}, decodeQ41, encodeQ41},
	Q5_0:   {"Q5_0", QuantBlock, q5Bytes, 6, F16, []int{0}, decodeQ5, encodeQ5},
	Q5_1:   {"Q5_1", QuantBlock, q51Bytes, 7, F16, []int{0, 2}, decodeQ51, encodeQ51},
	Q2_K:   {"Q2_K", SuperBlock, q2kBytes, 10, Q4_0, []int{80, 82}, decodeQ2K, nil},
	Q3_K:   {"Q3_K", SuperBlock, q3kBytes, 11, Q4_0, []int{108}, decodeQ3K, nil},
	Q4_K:   {"Q4_K", SuperBlock, q4kBytes, 12, Q5_0, []int{0, 2}, decodeQ4K, encodeQ4K},
	Q5_K:   {"Q5_K", SuperBlock, q5kBytes, 13, Q5_1, []int{0, 2}, decodeQ5K, encodeQ5K},
	Q6_K:   {"Q6_K", SuperBlock, q6kBytes, 14, Q8_0, []int{208}, decodeQ6K, encodeQ6K},
	IQ4_NL: {"IQ4_NL", QuantBlock, iq4Bytes, 20, F16, []int{0}, decodeIQ4NL, nil},
	IQ4_XS: {"IQ4_XS", SuperBlock, iq4xsBytes, 23, Q4_0, []int{0}, decodeIQ4XS, nil},
	MXFP4:  {"MXFP4", QuantBlock, mx4Bytes, 39, F16, nil, decodeMXFP4, nil},
}

// DTypes is the number of types: they are 0 to DTypes-1.
const DTypes = len(formats)

// format is d's line; a type that is not valid has no bytes.
func (d DType) format() *format {
	if !d.Valid() {
		return &format{name: fmt.Sprintf("DType(%d)", uint8(d)), elems: 1}
	}
	return &formats[d]
}

// String returns the name that safetensors uses, F32, F16 or BF16, or GGUF's.
func (d DType) String() string { return d.format().name }

// Valid reports whether d is one of the constants of this package.
func (d DType) Valid() bool { return int(d) < DTypes }

// ParseDType returns the type named s, in either case.
func ParseDType(s string) (DType, error) {
	var known []string
	for d, f := range formats {
		if strings.EqualFold(s, f.name) {
			return DType(d), nil
		}
		known = append(known, strings.ToLower(f.name))
	}
	last := len(known) - 1
	return 0, fmt.Errorf("tensor: parse dtype: got %q, want %s or %s", s, strings.Join(known[:last], ", "), known[last])
}

// GGML is the number of d in GGUF files (enum ggml_type).
func (d DType) GGML() uint32 { return d.format().ggml }

// FromGGML is the type that GGUF files call id; ok is false for one that is not
// read.
func FromGGML(id uint32) (d DType, ok bool) {
	for d, f := range formats {
		if f.ggml == id {
			return DType(d), true
		}
	}
	return 0, false
}

// BlockElems is how many elements are stored together: 1, or those of a block
// of a quantised type.
func (d DType) BlockElems() int { return d.format().elems }

// BlockBytes is the size of BlockElems elements.
func (d DType) BlockBytes() int { return d.format().bytes }

// Quantised reports whether d is stored in blocks of several elements.
func (d DType) Quantised() bool { return d.format().elems > 1 }

// Encodes reports whether Encode takes d.
func (d DType) Encodes() bool { return d.format().encode != nil }

// OfRow is the type that a matrix of d gets whose rows have n elements: d or,
// where its blocks do not fill the rows, what GGUF's own tools take instead: one
// of smaller blocks with as many bits or more, or F16.
func (d DType) OfRow(n int) DType {
	for f := d.format(); n%f.elems != 0; f = d.format() {
		d = f.other
	}
	return d
}

// RowBytes is the size in bytes of n consecutive elements, of a quantised type
// that of as many blocks as n elements take.
func (d DType) RowBytes(n int) int64 {
	f := d.format()
	return (int64(n) + int64(f.elems) - 1) / int64(f.elems) * int64(f.bytes)
}

// Decode widens the first len(dst) elements of src, which are of type d: whole
// blocks where d is quantised.
func Decode(dst []float32, src []byte, d DType) { formats[d].decode(dst, src) }

// Encode narrows all of src, whole blocks where d is quantised, to a type d that
// Encodes at the start of dst. A block with a value that is not finite has a
// scale that is NaN.
func Encode(dst []byte, src []float32, d DType) { formats[d].encode(dst, src) }

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func encodeF32(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func encodeF16(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(v))
	}
}

func encodeBF16(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(v))
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
