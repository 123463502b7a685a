package convert

import "encoding/binary"

// transpose writes element (r, c) of a matrix with elements of size 2 or 4 to
// dst[c*dstRow+r*size:]; it lies at src[r*srcRow+c*size:]. Columns become the
// rows of dst, dstRow bytes apart.
//
// It goes by groups of 4 columns, each down all rows: one source line of 64
// bytes then serves 8 or more groups out of the second-level cache, while the 4
// destination rows being written stay in the first. More rows at once would
// fall into the same cache sets, since strides are often powers of two.
func transpose(dst []byte, dstRow int, src []byte, srcRow, rows, cols, size int) {
	c := 0
	if size == 2 {
		for ; c+4 <= cols; c += 4 {
			transpose4(dst[c*dstRow:], dstRow, src[c*2:], srcRow, rows)
		}
	}
	for ; c < cols; c++ {
		to := dst[c*dstRow:]
		for r := range rows {
			copy(to[r*size:(r+1)*size], src[r*srcRow+c*size:])
		}
	}
}

// transpose4 turns 4 columns of 2-byte elements, 4 rows at a time: a 4x4 block
// is four 64-bit words, and two rounds of exchanging halves turn it
// (H. Warren, Hacker's Delight, section 7-3).
func transpose4(dst []byte, dstRow int, src []byte, srcRow, rows int) {
	const low16, low32 = 0x0000ffff_0000ffff, 0x00000000_ffffffff
	d0, d1, d2, d3 := dst, dst[dstRow:], dst[2*dstRow:], dst[3*dstRow:]
	le := binary.LittleEndian
	r := 0
	for ; r+4 <= rows; r += 4 {
		s := src[r*srcRow:]
		a, b, c, d := le.Uint64(s), le.Uint64(s[srcRow:]), le.Uint64(s[2*srcRow:]), le.Uint64(s[3*srcRow:])
		a, b = a&low16|b&low16<<16, a>>16&low16|b&^low16
		c, d = c&low16|d&low16<<16, c>>16&low16|d&^low16
		le.PutUint64(d0[2*r:], a&low32|c<<32)
		le.PutUint64(d1[2*r:], b&low32|d<<32)
		le.PutUint64(d2[2*r:], a>>32|c&^low32)
		le.PutUint64(d3[2*r:], b>>32|d&^low32)
	}
	for ; r < rows; r++ {
		s := src[r*srcRow:]
		copy(d0[2*r:2*r+2], s)
		copy(d1[2*r:2*r+2], s[2:])
		copy(d2[2*r:2*r+2], s[4:])
		copy(d3[2*r:2*r+2], s[6:])
	}
}
