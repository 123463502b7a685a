package source

import "math/bits"

// dtypeBits is the size in bits of one element of the type that safetensors
// calls name, or 0 for a name that this package does not know.
func dtypeBits(name string) int64 {
	switch name {
	case "C128":
		return 128
	case "F64", "I64", "U64", "C64":
		return 64
	case "F32", "I32", "U32", "C32":
		return 32
	case "F16", "BF16", "I16", "U16":
		return 16
	case "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ":
		return 8
	case "F6_E2M3", "F6_E3M2":
		return 6
	case "F4":
		return 4
	}
	return 0
}

// elements is the product of shape; ok is false if a dimension is negative or
// the product does not fit an int64.
func elements(shape []int64) (n int64, ok bool) {
	n = 1
	for _, d := range shape {
		if n, ok = mul(n, d); !ok {
			return 0, false
		}
	}
	return n, true
}

// shapeBytes is the size of a contiguous tensor with elements of elemBits; ok
// is false if that is not a whole number of bytes that fits an int64.
func shapeBytes(shape []int64, elemBits int64) (n int64, ok bool) {
	if n, ok = elements(shape); !ok {
		return 0, false
	}
	if n, ok = mul(n, elemBits); !ok || n%8 != 0 {
		return 0, false
	}
	return n / 8, true
}

// mul is a*b; ok is false if either is negative or the product overflows.
func mul(a, b int64) (product int64, ok bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if a < 0 || b < 0 || hi != 0 || int64(lo) < 0 {
		return 0, false
	}
	return int64(lo), true
}
