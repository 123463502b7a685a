package tensor

import "encoding/binary"

// Finite reports whether no element of b is NaN or infinite, that is, has an
// exponent of all ones; of a quantised b, whether no scale is. It looks at eight
// bytes at a time: adding one at the exponent's lowest bit carries into the sign's
// place only from all ones, and never into the next element.
func Finite(b []byte, d DType) bool {
	var mask, one, sign uint64
	switch d {
	case F32:
		mask, one, sign = 0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000
	case F16:
		mask, one, sign = 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000
	case BF16:
		mask, one, sign = 0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080, 0x8000_8000_8000_8000
	default:
		for n := d.BlockBytes(); len(b) >= n; b = b[n:] {
			for _, at := range formats[d].halves {
				if b[at+1]&0x7c == 0x7c {
					return false
				}
			}
		}
		return true
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
