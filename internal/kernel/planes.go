package kernel

// MostPlanes is the most bits of codes that lie in planes.
const MostPlanes = 3

// planeBlock is the elements of a block of codes in planes.
const planeBlock = 256

// PlaneBytes is the size of a row of d codes of the given bits in planes:
// whole blocks.
func PlaneBytes(d, bits int) int {
	return (d + planeBlock - 1) / planeBlock * bits * (planeBlock / 8)
}

// PackPlanes writes a row of codes, each below 1<<bits, to dst, which is
// PlaneBytes(len(codes), bits) long; the last block is filled up with zeros.
//
// A block is 256 codes in 32 bytes a bit. From 2 bits on it begins with 64
// bytes of pairs, the lower two bits: those of code 128s+32f+j are bits 2f and
// 2f+1 of byte 32s+j. With 1 and 3 bits it ends with 32 bytes of singles: the
// highest bit of code 32i+j is bit i of byte j. So a vector unit has 32 codes
// in a row for a shift and a mask.
func PackPlanes(dst, codes []byte, bits int) {
	clear(dst)
	for k, c := range codes {
		block, e := dst[k/planeBlock*bits*32:], k%planeBlock
		if bits > 1 {
			block[e/128*32+e%32] |= c & 3 << (e % 128 / 32 * 2)
		}
		if bits%2 == 1 {
			block[bits&^1*32+e%32] |= c >> (bits - 1) & 1 << (e / 32)
		}
	}
}

// planeCode is code e of a block.
func planeCode(block []byte, e, bits int) byte {
	c := byte(0)
	if bits > 1 {
		c = block[e/128*32+e%32] >> (e % 128 / 32 * 2) & 3
	}
	if bits%2 == 1 {
		c |= block[bits&^1*32+e%32] >> (e / 32) & 1 << (bits - 1)
	}
	return c
}

func dotPlanes(bits int, w []byte, x []int8) (sum int32) {
	size := bits * 32
	for ; len(w) >= size; w, x = w[size:], x[planeBlock:] {
		for e, v := range x[:planeBlock] {
			sum += int32(planeCode(w[:size], e, bits)) * int32(v)
		}
	}
	return sum
}

// planesOf makes a DotPlanesS8 of a function for any bits.
func planesOf(dot func(bits int, w []byte, x []int8) int32) (f [MostPlanes]func([]byte, []int8) int32) {
	for i := range f {
		f[i] = func(w []byte, x []int8) int32 { return dot(i+1, w, x) }
	}
	return f
}

// fourPlanes makes a Dot4PlanesS8 of a DotPlanesS8.
func fourPlanes(dots [MostPlanes]func([]byte, []int8) int32) (f [MostPlanes]func([]byte, []int8, int) [4]int32) {
	for i, dot := range dots {
		f[i] = fourSketches(dot)
	}
	return f
}
