package tensor

import "encoding/binary"

// SuperBlock is the elements of a block of the types whose scales are quantised
// too: a scale d in F16, in some also one of least values m, and for every 16 or
// 32 elements a small integer scale s, in some also a least value l.
//
//	Q2_K    16 bytes s | l<<4, 64 bytes of 2 bits, d, m        d s q - m l
//	Q3_K    32 bytes h, 64 bytes of 2 bits, 12 bytes s, d      d (s-32) (q + 4h - 4)
//	Q4_K    d, m, 12 bytes s and l, 128 bytes of nibbles       d s q - m l
//	Q5_K    d, m, 12 bytes s and l, 32 bytes h, 128 of nibbles d s (q + 16h) - m l
//	Q6_K    128 bytes of nibbles, 64 bytes of 2 bits h, 16 int8 s, d   d s (q + 16h - 32)
//	IQ4_XS  d, 2 upper bits of s in 16 bits, 4 bytes of lower ones, 128 of nibbles   d (s-32) iq4[q]
const SuperBlock = 256

const (
	q2kBytes   = 16 + 64 + 2 + 2
	q3kBytes   = 32 + 64 + 12 + 2
	q4kBytes   = 2 + 2 + 12 + 128
	q5kBytes   = 2 + 2 + 12 + 32 + 128
	q6kBytes   = 128 + 64 + 16 + 2
	iq4xsBytes = 2 + 2 + 4 + 128
)

func decodeQ2K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[q2kBytes:] {
		d, m := half(src[80:]), half(src[82:])
		for g, s := range src[:16] { // 16 elements each, two groups to a bit pair of 32 bytes
			scale, least := d*float32(s&15), m*float32(s>>4)
			q, shift, out := src[16+g/8*32+g%2*16:], g/2%4*2, dst[16*g:16*g+16]
			for j := range out {
				out[j] = float32(scale*float32(q[j]>>shift&3)) - least
			}
		}
	}
}

func decodeQ3K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[q3kBytes:] {
		d, s := half(src[108:]), src[96:108]
		for g := range 16 {
			scale := d * float32(int(s[g%8]>>(g/8*4)&15|s[8+g%4]>>(g/4*2)&3<<4)-32)
			q, shift := src[32+g/8*32+g%2*16:], g/2%4*2
			h, bit, out := src[g%2*16:], g/2, dst[16*g:16*g+16]
			for j := range out {
				out[j] = scale * float32(int(q[j]>>shift&3|h[j]>>bit&1<<2)-4)
			}
		}
	}
}

// scaleLeast is scale and least value g of the 12 bytes b of Q4_K and Q5_K.
func scaleLeast(b []byte, g int) (s, l byte) {
	if g < 4 {
		return b[g] & 63, b[g+4] & 63
	}
	return b[g+4]&15 | b[g-4]>>6<<4, b[g+4]>>4 | b[g]>>6<<4
}

func decodeQ4K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[q4kBytes:] {
		d, m := half(src), half(src[2:])
		for g := range 8 {
			s, l := scaleLeast(src[4:16], g)
			scale, least := d*float32(s), m*float32(l)
			q, shift, out := src[16+g/2*32:], g%2*4, dst[32*g:32*g+32]
			for j := range out {
				out[j] = float32(scale*float32(q[j]>>shift&15)) - least
			}
		}
	}
}

func decodeQ5K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[q5kBytes:] {
		d, m, h := half(src), half(src[2:]), src[16:48]
		for g := range 8 {
			s, l := scaleLeast(src[4:16], g)
			scale, least := d*float32(s), m*float32(l)
			q, shift, out := src[48+g/2*32:], g%2*4, dst[32*g:32*g+32]
			for j := range out {
				out[j] = float32(scale*float32(q[j]>>shift&15|h[j]>>g&1<<4)) - least
			}
		}
	}
}

func decodeQ6K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[q6kBytes:] {
		d := half(src[208:])
		for g := range 16 { // of each 128 elements, 4 times 32 side by side
			scale := d * float32(int8(src[192+g]))
			q, shift := src[g/8*64+g/2%2*32+g%2*16:], g/4%2*4
			h, pair, out := src[128+g/8*32+g%2*16:], g/2%4*2, dst[16*g:16*g+16]
			for j := range out {
				out[j] = scale * float32(int(q[j]>>shift&15|h[j]>>pair&3<<4)-32)
			}
		}
	}
}

func decodeIQ4XS(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[SuperBlock:], src[iq4xsBytes:] {
		d, upper := half(src), binary.LittleEndian.Uint16(src[2:])
		for g := range 8 {
			s := int(src[4+g/2]>>(g%2*4)&15) | int(upper>>(2*g)&3)<<4
			nibbles(dst[32*g:], src[8+16*g:24+16*g], d*float32(s-32), &iq4)
		}
	}
}
