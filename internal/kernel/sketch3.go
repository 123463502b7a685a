package kernel

const (
	sketch3Codes = 256 // of a block of a sketch of 3 bits
	sketch3Bytes = 96
	sketch3High  = 64 // where a block's highest bits begin
)

// Sketch3Bytes is the size of a sketch row of d codes of 3 bits: whole blocks.
func Sketch3Bytes(d int) int { return (d + sketch3Codes - 1) / sketch3Codes * sketch3Bytes }

// PackSketch3 writes a row of codes, each below 8, to dst, which is
// Sketch3Bytes(len(codes)) long. It fills up the last block with zeros.
//
// A block is 256 codes. It begins with the lower two bits of each: those of code
// 128s+32f+j are bits 2f and 2f+1 of byte 32s+j. It ends with the highest bits:
// that of code 32i+j is bit i of byte 64+j. So a vector unit has 32 codes in a
// row for a shift and a mask.
func PackSketch3(dst, codes []byte) {
	clear(dst)
	for k, c := range codes {
		block, e := dst[k/sketch3Codes*sketch3Bytes:], k%sketch3Codes
		block[e/128*32+e%32] |= c & 3 << (e % 128 / 32 * 2)
		block[sketch3High+e%32] |= c >> 2 & 1 << (e / 32)
	}
}

// sketch3Code is code e of a block.
func sketch3Code(block []byte, e int) byte {
	return block[e/128*32+e%32]>>(e%128/32*2)&3 | block[sketch3High+e%32]>>(e/32)&1<<2
}

func dotU3S8(w []byte, x []int8) (sum int32) {
	for ; len(w) >= sketch3Bytes; w, x = w[sketch3Bytes:], x[sketch3Codes:] {
		for e, v := range x[:sketch3Codes] {
			sum += int32(sketch3Code(w[:sketch3Bytes], e)) * int32(v)
		}
	}
	return sum
}
