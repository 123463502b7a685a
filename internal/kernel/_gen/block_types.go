package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blocks are the types of which there are kernels.
var blocks = []*block{
	{name: "Q80", head: true, elems: 32, bytes: 34, zero: 7, signed: true, codes: codes8, scales: halfScales, tables: wordTables},
	{name: "Q40", elems: 32, bytes: 18, zero: 3, codes: nibbles(2), scales: halfScales, tables: wordTables},
	{name: "Q41", elems: 32, bytes: 20, least: 1, codes: nibbles(4), scales: halfScales, tables: wordTables},
	{name: "Q50", elems: 32, bytes: 22, zero: 4, codes: fives(6), scales: halfScales, tables: wordTables},
	{name: "Q4K", elems: 256, bytes: 144, least: -1, codes: codesK(16, false), scales: scalesK, tables: tablesK},
	{name: "Q5K", elems: 256, bytes: 176, least: -1, codes: codesK(48, true), scales: scalesK, tables: tablesK},
	{name: "Q6K", head: true, elems: 256, bytes: 210, zero: 5, halves: true, codes: codes6K, scales: scales6K, tables: tablesK},
	{name: "IQ4NL", elems: 32, bytes: 18, zero: 7, signed: true, codes: looked(2), scales: halfScales, tables: iq4Tables},
	{name: "Q51", elems: 32, bytes: 24, least: 1, codes: fives(8), scales: halfScales, tables: wordTables},
	{name: "Q2K", elems: 256, bytes: 84, halves: true, least: -1, codes: codes2K, scales: scales2K, tables: tablesK},
	{name: "Q3K", elems: 256, bytes: 110, zero: 2, halves: true, codes: codes3K, scales: scales3K, tables: tablesK},
	{name: "IQ4XS", elems: 256, bytes: 136, zero: 7, signed: true, codes: codesXS, scales: scalesXS, tables: tablesXS},
	{name: "MXFP4", elems: 32, bytes: 17, zero: 4, codes: looked(1), scales: exponents, tables: fp4Tables},
}

// constants are the tables in memory so far, by name.
var constants = map[string]Mem{}

// constant is a table of 64 bytes.
func (s isa) constant(name string, at func(i int) byte) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	constants[name] = m
	for i := range 8 {
		var v uint64
		for j := range 8 {
			v |= uint64(at(i*8+j)) << (8 * j)
		}
		DATA(8*i, U64(v))
	}
	return m
}

// simpleOffset is where base of the block of a group lies, in types of 32 elements.
func simpleOffset(b *block, base, g int) func(q int) int {
	return func(q int) int { return b.bytes*(4*q+g) + base }
}

// codes8 is the codes of Q8_0, which are bytes.
func codes8(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
	for g := range 4 {
		for half := range 2 {
			v := p.gather(simpleOffset(b, 2+16*half, g))
			if s.width == 16 {
				VPXORD(s.words32("top", 0x80808080), v, v)
			}
			use(g, half, v)
		}
	}
}

// nibbles is the codes of types of 32 elements whose bytes from base on hold
// element j in the lower and 16+j in the upper four bits.
func nibbles(base int) func(isa, *block, blockConsts, part, func(int, int, reg.VecVirtual)) {
	return func(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
		for g := range 4 {
			raw := p.gather(simpleOffset(b, base, g))
			s.twoNibbles(c, raw, func(half int, v reg.VecVirtual) { use(g, half, v) })
		}
	}
}

// twoNibbles calls use with the lower and the upper four bits of raw.
func (s isa) twoNibbles(c blockConsts, raw reg.VecVirtual, use func(i int, v reg.VecVirtual)) {
	low, high := s.vec(), s.vec()
	s.and(c.nibble, raw, low)
	use(0, low)
	VPSRLW(U8(4), raw, high)
	s.and(c.nibble, high, high)
	use(1, high)
}

// looked is nibbles that are looked up in a table.
func looked(base int) func(isa, *block, blockConsts, part, func(int, int, reg.VecVirtual)) {
	return func(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
		nibbles(base)(s, b, c, p, func(g, half int, v reg.VecVirtual) {
			VPSHUFB(v, c.table["values"], v)
			use(g, half, v)
		})
	}
}

// fives is nibbles with a fifth bit of element j in bit j of the four bytes before
// them.
func fives(base int) func(isa, *block, blockConsts, part, func(int, int, reg.VecVirtual)) {
	return func(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
		for g := range 4 {
			raw, upper := p.gather(simpleOffset(b, base, g)), p.gather(simpleOffset(b, base-4, g))
			s.twoNibbles(c, raw, func(half int, v reg.VecVirtual) {
				// Each byte gets the one of its bit, and the bit stays.
				bits := s.vec()
				VPSHUFB(c.table[[]string{"lowBytes", "highBytes"}[half]], upper, bits)
				if s.width == 16 {
					k := K()
					VPTESTMB(c.table["bit"], bits, k)
					VPADDB(s.words32("sixteen", 0x10101010), v, k, v)
				} else {
					VPAND(c.table["bit"], bits, bits)
					VPCMPEQB(c.table["bit"], bits, bits)
					s.merge(s.words32("sixteen", 0x10101010), bits, v)
				}
				use(g, half, v)
			})
		}
	}
}

// half16 loads a part's float16, one for every block of 32, from the word offset
// of each block on, as float32.
func (s isa) half16(b *block, c blockConsts, p part, offset int) reg.VecVirtual {
	v := s.vec()
	VCVTPH2PS(s.words(b, c, p, offset), v)
	return v
}

// words is the words at offset of each block of a part.
func (s isa) words(b *block, c blockConsts, p part, offset int) reg.VecVirtual {
	if s.width == 8 {
		v := XMM()
		first := 8 * p.index * b.bytes
		r := GP32()
		MOVWLZX(at(p.wp, first+offset), r)
		VMOVD(r, v)
		for i := 1; i < 8; i++ {
			VPINSRW(U8(i), at(p.wp, first+offset+i*b.bytes), v, v)
		}
		return v
	}
	// One load of each four blocks, or two that overlap, has all words.
	v, four, pick := ZMM(), 4*b.bytes, c.table[fmt.Sprint("pick", offset)]
	for q := range 4 {
		from := q * four
		switch whole := four-b.bytes+offset+2 <= 64; {
		case whole && q == 0:
			VPERMW(p.at(q, from), pick, v)
		case whole:
			VPERMW(p.at(q, from), pick, c.quarter[q-1], v)
		default:
			w := v
			if q > 0 {
				w = ZMM()
			}
			VMOVDQU32(p.at(q, from), w)
			VPERMT2W(p.at(q, from+b.secondWords()), pick, w)
			if q > 0 {
				VMOVDQU16(w, c.quarter[q-1], v)
			}
		}
	}
	return v.AsY().(reg.VecVirtual)
}

// secondWords is where the second load of four blocks begins.
func (b *block) secondWords() int { return min(64, 4*b.bytes-64) }

// pickTable is what words picks by: the places of the words at offset of four
// blocks, again and again.
func (s isa) pickTable(b *block, offset int) reg.VecVirtual {
	v := s.vec()
	m := s.constant(fmt.Sprintf("pick%s%d", b.name, offset), func(i int) byte {
		at := i/2%4*b.bytes + offset
		word := at / 2
		if at+2 > 64 {
			word = 32 + (at-b.secondWords())/2
		}
		return []byte{byte(word), 0}[i%2]
	})
	VMOVDQU32(m, v)
	return v
}

// wordTables are the tables of types of 32 elements whose scale is a float16.
func wordTables(s isa, b *block) map[string]reg.VecVirtual {
	t := map[string]reg.VecVirtual{}
	if s.width == 16 {
		t["pick0"] = s.pickTable(b, 0)
		if b.least != 0 {
			t["pick2"] = s.pickTable(b, 2)
		}
	}
	if b.codesOfFive() {
		t["bit"] = s.table("bit", func(i int) byte { return 1 << (i % 8) })
		t["lowBytes"] = s.table("lowBytes", func(i int) byte { return byte(i % 16 / 8) })
		t["highBytes"] = s.table("highBytes", func(i int) byte { return byte(2 + i%16/8) })
	}
	return t
}

func (b *block) codesOfFive() bool { return b.name == "Q50" || b.name == "Q51" }

// table is a register of constant.
func (s isa) table(name string, at func(i int) byte) reg.VecVirtual {
	v := s.vec()
	VMOVUPS(s.constant(name, at), v)
	return v
}

// halfScales is scales of types of 32 elements that begin with a float16, after
// which comes their least value if they have one.
func halfScales(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	scale = []reg.VecVirtual{s.half16(b, c, p, 0)}
	if b.least != 0 {
		least = []reg.VecVirtual{s.half16(b, c, p, 2)}
	}
	return scale, least
}

// iq4Values and fp4Values are what codes stand for: package tensor has them.
var (
	iq4Values = [16]int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4Values = [16]int{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// values are the looked up codes of b, as the set takes them.
func (s isa) codeValues(b *block, values [16]int) reg.VecVirtual {
	zero := 1 << b.zero
	if b.signedHere(s) {
		zero = 0
	}
	return s.table("values"+b.name, func(i int) byte { return byte(values[i%16] + zero) })
}

func iq4Tables(s isa, b *block) map[string]reg.VecVirtual {
	t := wordTables(s, b)
	t["values"] = s.codeValues(b, iq4Values)
	return t
}

func fp4Tables(s isa, b *block) map[string]reg.VecVirtual {
	t := map[string]reg.VecVirtual{"values": s.codeValues(b, fp4Values), "least": s.broadcast32(0x400000)}
	if s.width == 16 {
		t["pick0"] = s.pickTable(b, 0)
	}
	return t
}

// exponents is scales of MXFP4: 2^(e-128), e being a byte. The two least are
// subnormal.
func exponents(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	e, small := s.vec(), s.vec()
	if s.width == 16 {
		// Blocks have odd sizes: every other one's byte is the upper one of its word.
		VPMOVZXWD(s.words(b, c, p, 0), e)
		VPSRLVD(s.constant("odd", func(i int) byte { return []byte{0, 0, 0, 0, 8, 0, 0, 0}[i%8] }), e, e)
		VPANDD(s.words32("lowByte", 0xff), e, e)
	} else {
		x, first := XMM(), 8*p.index*b.bytes
		VPXOR(x, x, x)
		for i := range 8 {
			VPINSRB(U8(i), at(p.wp, first+i*b.bytes), x, x)
		}
		VPMOVZXBD(x, e)
	}
	VMOVUPS(s.words32("one", 1), small)
	VPSUBD(e, small, small)
	VPSRLVD(small, c.table["least"], small) // 0 from 2 on
	VPSLLD(U8(23), e, e)
	VPSUBD(s.words32("step", 0x800000), e, e)
	VPMAXSD(small, e, e)
	return []reg.VecVirtual{e}, nil
}

// codesK is the codes of Q4_K and, with a fifth bit, Q5_K. Of each 32 bytes the
// lower and the upper four bits are a block's.
func codesK(base int, fifth bool) func(isa, *block, blockConsts, part, func(int, int, reg.VecVirtual)) {
	return func(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
		var upper [2]reg.VecVirtual
		if fifth {
			upper = p.bitOfEach(b, c, 16)
		}
		for j := range 2 {
			for half := range 2 {
				raw := p.gather(func(q int) int { return q/2*b.bytes + base + q%2*64 + 32*j + 16*half })
				s.twoNibbles(c, raw, func(i int, v reg.VecVirtual) {
					g := 2*j + i
					if fifth {
						bits := s.vec()
						VPSLLD(U8(4-g), upper[half], bits)
						s.merge(s.words32("sixteen", 0x10101010), bits, v)
					}
					use(g, half, v)
				})
			}
		}
	}
}

// bitOfEach is 32 bytes from base on of which bit b is of block b, so that bit g
// is of the blocks of group g.
func (p part) bitOfEach(b *block, c blockConsts, base int) (upper [2]reg.VecVirtual) {
	for half := range upper {
		upper[half] = p.gather(func(q int) int { return q/2*b.bytes + base + 16*half })
		VPSRLVQ(c.table["oddQuarters"], upper[half], upper[half]) // whose blocks are four further
	}
	return upper
}

func tablesK(s isa, b *block) map[string]reg.VecVirtual {
	t := map[string]reg.VecVirtual{}
	if b.name == "Q5K" || b.name == "Q3K" {
		t["oddQuarters"] = s.table("oddQuarters", func(i int) byte { return []byte{0, 4}[i/16%2] * []byte{1, 0, 0, 0, 0, 0, 0, 0}[i%8] })
	}
	return t
}

// narrow is a register of half the set's.
func (s isa) narrow() reg.VecVirtual {
	if s.width == 16 {
		return YMM()
	}
	return XMM()
}

// headers is n bytes, 16 at most, of each superblock of a part.
func (p part) headers(b *block, offset int) reg.VecVirtual {
	v := p.narrow()
	if p.width == 8 {
		VMOVDQU(at(p.wp, p.index*b.bytes+offset), v)
		return v
	}
	VBROADCASTI32X4(at(p.wp, offset), v)
	VINSERTI32X4(U8(1), at(p.high, b.bytes+offset), v, v)
	return v
}

// scalesK is scales of Q4_K and Q5_K: two float16, that of the scales and that of
// the least values, and twelve bytes of six bits of either for eight blocks.
func scalesK(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	h := p.headers(b, 0)
	d := func(name string, offset byte) reg.VecVirtual {
		words, v := s.narrow(), s.vec()
		VPSHUFB(s.constant(name, func(i int) byte { return offset + byte(i%2) }), h, words)
		VCVTPH2PS(words, v)
		return v
	}
	low, middle, high := s.narrow(), s.narrow(), s.narrow()
	VPSHUFD(U8(0x99), h, middle)
	s.and(s.bytesOf(0x3f), middle, low) // of blocks 0 to 3
	VPSRLD(U8(2), middle, middle)
	s.and(s.bytesOf(0x30), middle, middle)
	VPSHUFD(U8(0xff), h, high)
	VPSRLVD(s.constant("oddWords", func(i int) byte { return []byte{0, 0, 0, 0, 4, 0, 0, 0}[i%8] }), high, high)
	s.and(s.bytesOf(0x0f), high, high)
	if s.width == 16 {
		VPORD(middle, high, high)
	} else {
		VPOR(middle, high, high)
	} // of blocks 4 to 7
	VPUNPCKLDQ(high, low, low)
	sc, m := s.vec(), s.vec()
	rest := XMM()
	if s.width == 16 {
		VPERMQ(U8(0xd8), low, low)
		VEXTRACTI32X4(U8(1), low, rest)
	} else {
		VPSRLDQ(U8(8), low, rest)
	}
	VPMOVZXBD(low.AsX(), sc)
	VPMOVZXBD(rest, m)
	VCVTDQ2PS(sc, sc)
	VCVTDQ2PS(m, m)
	VMULPS(d("scaleHalf", 0), sc, sc)
	VMULPS(d("leastHalf", 2), m, m)
	return []reg.VecVirtual{sc}, []reg.VecVirtual{m}
}

// codes6K is the codes of Q6_K: of each 128, 64 bytes of nibbles and 32 of two
// more bits.
func codes6K(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
	for half := range 2 {
		upper := p.gather(func(q int) int { return q/2*b.bytes + 128 + q%2*32 + 16*half })
		for i := range 2 {
			raw := p.gather(func(q int) int { return q/2*b.bytes + q%2*64 + 32*i + 16*half })
			s.twoNibbles(c, raw, func(j int, v reg.VecVirtual) {
				g, bits := i+2*j, s.vec()
				switch g {
				case 0, 1:
					VPSLLD(U8(4-2*g), upper, bits)
				case 2:
					VMOVUPS(upper, bits)
				case 3:
					VPSRLD(U8(2), upper, bits)
				}
				s.merge(s.words32("pair", 0x30303030), bits, v)
				use(g, half, v)
			})
		}
	}
}

// scales6K is scales of Q6_K: sixteen int8 and, at the end, their float16.
func scales6K(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	return s.byteScales(p.headers(b, 192), p.half(b, 208)), nil
}

// byteScales is int8 of a part, two for a block, as float32 times d.
func (s isa) byteScales(bytes, d reg.VecVirtual) []reg.VecVirtual {
	low, high := s.vec(), s.vec()
	VPMOVSXWD(bytes, high)
	VPSLLD(U8(24), high, low)
	VPSRAD(U8(24), low, low)
	VPSRAD(U8(8), high, high)
	for _, v := range []reg.VecVirtual{low, high} {
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
	}
	return []reg.VecVirtual{low, high}
}

// wordOf fills the words of each superblock of a part with that at offset.
func (p part) wordOf(b *block, offset int) reg.VecVirtual {
	words := p.narrow()
	VPBROADCASTW(at(p.wp, p.index*b.bytes+offset), words)
	if p.width == 16 {
		second := XMM()
		VPBROADCASTW(at(p.high, b.bytes+offset), second)
		VINSERTI32X4(U8(1), second, words, words)
	}
	return words
}

// half is the float16 at offset of each superblock.
func (p part) half(b *block, offset int) reg.VecVirtual {
	v := p.vec()
	VCVTPH2PS(p.wordOf(b, offset), v)
	return v
}

// bytesOf is a constant of one byte, again and again.
func (s isa) bytesOf(v uint32) Mem { return s.words32(fmt.Sprintf("bytes%x", v), v*0x01010101) }

// pairsOfBits calls use with the two bits that are group g's of the 64 bytes from
// base on.
func (p part) pairsOfBits(b *block, base int, half int, use func(g int, v reg.VecVirtual)) {
	raw := p.gather(func(q int) int { return q/2*b.bytes + base + q%2*32 + 16*half })
	for g := range 4 {
		v := p.vec()
		if g == 0 {
			VMOVUPS(raw, v)
		} else {
			VPSRLD(U8(2*g), raw, v)
		}
		p.and(p.bytesOf(3), v, v)
		use(g, v)
	}
}

// codes2K is the codes of Q2_K.
func codes2K(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
	for half := range 2 {
		p.pairsOfBits(b, 16, half, func(g int, v reg.VecVirtual) { use(g, half, v) })
	}
}

// scales2K is scales of Q2_K: sixteen bytes of a scale and a least value each.
func scales2K(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	low := p.headers(b, 0)
	high := s.narrow()
	VPSRLW(U8(4), low, high)
	s.and(s.bytesOf(15), low, low)
	s.and(s.bytesOf(15), high, high)
	return s.byteScales(low, p.half(b, 80)), s.byteScales(high, p.half(b, 82))
}

// codes3K is the codes of Q3_K: two bits, and a third in the first 32 bytes.
func codes3K(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
	third := p.bitOfEach(b, c, 0)
	for half := range 2 {
		p.pairsOfBits(b, 32, half, func(g int, v reg.VecVirtual) {
			bits := s.vec()
			switch {
			case g < 2:
				VPSLLD(U8(2-g), third[half], bits)
			case g == 2:
				VMOVUPS(third[half], bits)
			default:
				VPSRLD(U8(1), third[half], bits)
			}
			s.merge(s.bytesOf(4), bits, v)
			use(g, half, v)
		})
	}
}

// scales3K is scales of Q3_K: four bits of sixteen in eight bytes, two more in four.
func scales3K(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	h := p.headers(b, 94) // the scales from its third byte on, the float16 at its end
	low, high, words, d := s.narrow(), s.narrow(), s.narrow(), s.vec()
	VPSHUFB(s.constant("low3K", func(i int) byte { return byte(2 + i%8) }), h, low)
	VPSRLVQ(s.constant("low3KBits", func(i int) byte { return []byte{0, 4}[i/8%2] * []byte{1, 0, 0, 0, 0, 0, 0, 0}[i%8] }), low, low)
	s.and(s.bytesOf(15), low, low)
	VPSHUFB(s.constant("high3K", func(i int) byte { return byte(10 + i%4) }), h, high)
	VPSRLVD(s.constant("high3KBits", func(i int) byte { return byte(i/4%4*2) * []byte{1, 0, 0, 0}[i%4] }), high, high)
	VPSLLD(U8(4), high, high)
	s.and(s.bytesOf(0x30), high, high)
	VPADDB(high, low, low)
	VPSUBB(s.bytesOf(32), low, low)
	VPSHUFB(s.constant("half3K", func(i int) byte { return byte(14 + i%2) }), h, words)
	VCVTPH2PS(words, d)
	return s.byteScales(low, d), nil
}

// codesXS is the codes of IQ4_XS: sixteen bytes a block, as in IQ4_NL.
func codesXS(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual)) {
	for g := range 4 {
		raw := p.gather(func(q int) int { return q/2*b.bytes + 8 + 16*(q%2*4+g) })
		s.twoNibbles(c, raw, func(half int, v reg.VecVirtual) {
			VPSHUFB(v, c.table["values"], v)
			use(g, half, v)
		})
	}
}

func tablesXS(s isa, b *block) map[string]reg.VecVirtual {
	return map[string]reg.VecVirtual{"values": s.codeValues(b, iq4Values)}
}

// scalesXS is scales of IQ4_XS: a float16, two bits of eight in a word, and four
// more in four bytes.
func scalesXS(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual) {
	h := p.headers(b, 0)
	low, v, upper := s.narrow(), s.vec(), s.vec()
	// Block b has the lower or the upper bits of byte b/2, in a word of its own.
	VPSHUFB(s.constant("lowXS", func(i int) byte { return []byte{byte(4 + i%16/4), 0x80}[i%2] }), h, low)
	VPMOVZXWD(low, v)
	VPSRLVD(s.constant("oddBlocks", func(i int) byte { return []byte{0, 0, 0, 0, 4, 0, 0, 0}[i%8] }), v, v)
	s.and(s.words32("nibble32", 15), v, v)
	VPMOVZXWD(p.wordOf(b, 2), upper)
	VPSRLVD(s.constant("upperXSBits", func(i int) byte { return byte(i/4%8*2) * []byte{1, 0, 0, 0}[i%4] }), upper, upper)
	VPSLLD(U8(4), upper, upper)
	s.and(s.words32("pair32", 0x30), upper, upper)
	VPADDD(upper, v, v)
	VPSUBD(s.words32("thirtyTwo", 32), v, v)
	VCVTDQ2PS(v, v)
	VMULPS(p.half(b, 0), v, v)
	return []reg.VecVirtual{v}, nil
}
