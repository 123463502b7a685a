package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Kernels over GGUF's blocks take chunks of 16 blocks of 32 elements. AVX-512
// takes a chunk at once. AVX2 takes it in two parts, of 8 blocks each.
//
// Group g of a chunk is the blocks g, 4+g, 8+g and 12+g, each of which fills a
// quarter of a register of 512 bits, first with its elements 0 to 15, its low
// half, then with the others. In types of 256 elements all blocks of a group then
// lie at the same bits of their bytes. The sums of four products in each lane of
// four groups meet in one register that has the sum of block b in lane b.
const chunkBlocks = 16

// The parts of a chunk's record of activations, by their offset in bytes: see
// Set.RoundX of package kernel.
const (
	roundScales = 512 // [16] float32
	roundSums   = 576 // [16, 2] int16: of a block's halves
	roundLeast  = 640 // [16] float32: a block's sum times its scale
	roundBytes  = 704
)

// A block is a type of GGUF's blocks.
type block struct {
	name         string
	head         bool // heads of models are stored so
	elems, bytes int
	// zero says that codes are unsigned and that 1<<zero stands for 0; signed that
	// those of AVX2 are signed, since a pair of their products would not fit.
	zero   int
	signed bool
	// halves says that each half of a block has a scale of its own.
	halves bool
	// least is 1 where a block's least value is added, -1 where it is subtracted.
	least int
	// codes calls use with the codes of every group and half, low halves first and
	// that of group 3 last.
	codes func(s isa, b *block, c blockConsts, p part, use func(g, half int, v reg.VecVirtual))
	// scales are a part's scales as float32, two registers where halves, and as many
	// of least values.
	scales func(s isa, b *block, c blockConsts, p part) (scale, least []reg.VecVirtual)
	// tables are the constants that it wants in registers.
	tables func(s isa, b *block) map[string]reg.VecVirtual
}

// blockConsts is what a kernel over blocks keeps in registers.
type blockConsts struct {
	ones   reg.VecVirtual // int16, for AVX2
	zero   reg.VecVirtual // for AVX-512
	nibble reg.VecVirtual // bytes 0x0f
	table  map[string]reg.VecVirtual
	// quarter is, for AVX-512, the lanes of the quarters of a register but the first.
	quarter [3]reg.OpmaskVirtual
	// counted is, where not all blocks count, those that do.
	counted *reg.OpmaskVirtual
}

// part is a part of a chunk of weights at wp, from its half on at high.
type part struct {
	isa
	wp, high reg.Register
	index    int
}

// at is memory of quarter q.
func (p part) at(q, disp int) Mem {
	if q < 2 {
		return at(p.wp, disp)
	}
	return at(p.high, disp)
}

// quarters is how many blocks of a group are in a part, and first the first.
func (p part) quarters() (first, n int) { return p.index * p.width / 4, p.width / 4 }

// gather fills the quarters of a register with the 16 bytes at off(q).
func (p part) gather(off func(q int) int) reg.VecVirtual {
	v := p.vec()
	first, n := p.quarters()
	if p.width == 16 {
		VBROADCASTI32X4(p.at(first, off(first)), v)
	} else {
		VBROADCASTI128(p.at(first, off(first)), v)
	}
	for q := 1; q < n; q++ {
		p.insert(q, p.at(first+q, off(first+q)), v)
	}
	return v
}

// insert sets quarter q of v.
func (s isa) insert(q int, m Mem, v reg.VecVirtual) {
	if s.width == 16 {
		VINSERTI32X4(U8(q), m, v, v)
	} else {
		VINSERTI128(U8(q), m, v, v)
	}
}

func (s isa) blockConsts(b *block) blockConsts {
	c := blockConsts{nibble: s.broadcast32(0x0f0f0f0f)}
	if s.width == 8 {
		c.ones = s.broadcast32(0x00010001)
	} else {
		c.zero = s.vec()
		s.zero(c.zero)
	}
	c.table = b.tables(s, b)
	if c.table["pick0"] != nil {
		r := GP32()
		for i := range c.quarter {
			c.quarter[i] = K()
			MOVL(U32(0xf0<<(4*i)), r)
			KMOVD(r, c.quarter[i])
		}
	}
	return c
}

// broadcast32 fills a register of the set with one 32-bit constant.
func (s isa) broadcast32(v uint32) reg.VecVirtual {
	if s.width == 16 {
		return broadcast32Z(v)
	}
	return broadcast32(v)
}

// and is a AND b.
func (s isa) and(a Op, b, dst reg.VecVirtual) {
	if s.width == 16 {
		VPANDD(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

// merge sets v to v OR (bits AND mask). It may change bits.
func (s isa) merge(mask Op, bits, v reg.VecVirtual) {
	if s.width == 16 {
		VPTERNLOGD(U8(0xf8), mask, bits, v)
		return
	}
	VPAND(mask, bits, bits)
	VPOR(bits, v, v)
}

// addChunk adds the products of the chunk at wp with the records that x addresses,
// of one token or four, to acc [token][part]. It is the order of sums that package
// kernel documents.
func (s isa) addChunk(b *block, c blockConsts, wp reg.Register, x func(token, disp int) Op, acc [][]reg.VecVirtual) {
	for i := range acc[0] {
		s.addPart(b, c, part{s, wp, wp, i}, x, acc)
	}
}

// addPart is addChunk for a part.
func (s isa) addPart(b *block, c blockConsts, p part, x func(token, disp int) Op, acc [][]reg.VecVirtual) {
	sums := s.chunkSums(b, c, p, x, len(acc))
	scale, least := b.scales(s, b, c, p)
	for t := range acc {
		s.addSums(b, c, sums[t], scale, least, func(disp, size int) Op { return x(t, disp+p.index*size*s.width) }, acc[t][p.index])
	}
}

// chunkSums is the sums of a part's blocks, [token], or of each half of them
// where these have scales of their own.
func (s isa) chunkSums(b *block, c blockConsts, p part, x func(token, disp int) Op, tokens int) [][]reg.VecVirtual {
	sums := make([][]reg.VecVirtual, tokens)
	groups := make([][4]reg.VecVirtual, tokens)
	b.codes(s, b, c, p, func(g, half int, v reg.VecVirtual) {
		for t := range tokens {
			first := half == 0 || b.halves
			s.multiply(b, c, v, x(t, g*128+half*64+p.index*32), &groups[t][g], first, half == 1 || b.halves)
			if g == 3 && (b.halves || half == 1) {
				sums[t] = append(sums[t], s.meet(groups[t]))
			}
		}
	})
	return sums
}

// multiply adds the products of a register of codes to sum, in fours. first says
// that there is none yet, last that no more come.
func (s isa) multiply(b *block, c blockConsts, codes reg.VecVirtual, x Op, sum *reg.VecVirtual, first, last bool) {
	if s.width == 16 {
		if first {
			*sum = s.vec()
			VMOVDQA32(c.zero, *sum)
		}
		VPDPBUSD(x, codes, *sum)
		return
	}
	v := YMM()
	if b.signed {
		magnitude := YMM()
		VPABSB(codes, magnitude)
		VMOVDQU(x, v)
		VPSIGNB(codes, v, v)
		VPMADDUBSW(v, magnitude, v)
		VPMADDWD(c.ones, v, v)
	} else {
		VPMADDUBSW(x, codes, v)
	}
	switch {
	case first:
		*sum = v
	case b.signed:
		VPADDD(v, *sum, *sum)
	default:
		VPADDW(v, *sum, *sum)
	}
	if last && !b.signed {
		VPMADDWD(c.ones, *sum, *sum)
	}
}

// meet adds four neighbouring lanes of each group: lane 4q+g is group g's of
// quarter q.
func (s isa) meet(v [4]reg.VecVirtual) reg.VecVirtual {
	pair := func(a, b reg.VecVirtual, low, high func(b, a, dst Op)) reg.VecVirtual {
		l, h := s.vec(), s.vec()
		low(b, a, l)
		high(b, a, h)
		VPADDD(h, l, l)
		return l
	}
	low, high := func(b, a, dst Op) { VPUNPCKLDQ(b, a, dst) }, func(b, a, dst Op) { VPUNPCKHDQ(b, a, dst) }
	a, b := pair(v[0], v[1], low, high), pair(v[2], v[3], low, high)
	return pair(a, b, func(b, a, dst Op) { VPUNPCKLQDQ(b, a, dst) }, func(b, a, dst Op) { VPUNPCKHQDQ(b, a, dst) })
}

// addSums takes off what the zero point of the codes adds to a part's sums and
// adds them, times their scales, and what the blocks' least values add.
func (s isa) addSums(b *block, c blockConsts, sums, scale, least []reg.VecVirtual, x func(disp, size int) Op, acc reg.VecVirtual) {
	ofX := x(roundSums, 4)
	switch {
	case b.zero > 0 && b.halves:
		for half, sum := range sums {
			VPSUBD(s.halfSums(ofX, half, b.zero), sum, sum)
		}
	case b.zero > 0 && !b.signedHere(s):
		v := s.blockSums(ofX)
		VPSLLD(U8(b.zero), v, v)
		VPSUBD(v, sums[0], sums[0])
	}
	dx := s.loadFrom(x(roundScales, 4))
	for half, sum := range sums {
		f := s.vec()
		VCVTDQ2PS(sum, sum)
		VMULPS(dx, scale[half], f)
		VFMADD231PS(c.blocks(f, sum, acc)...)
	}
	for half, m := range least {
		v := s.vec()
		if b.halves {
			v = s.halfSums(ofX, half, 0)
			VCVTDQ2PS(v, v)
			VMULPS(dx, v, v)
		} else {
			VMOVUPS(x(roundLeast, 4), v)
		}
		if b.least > 0 {
			VFMADD231PS(c.blocks(v, m, acc)...)
		} else {
			VFNMADD231PS(c.blocks(v, m, acc)...)
		}
	}
}

// blocks is the operands of what is added for the blocks that count.
func (c blockConsts) blocks(a, b, acc reg.VecVirtual) []Op {
	if c.counted == nil {
		return []Op{a, b, acc}
	}
	return []Op{a, b, *c.counted, acc}
}

// halfSums is a part's sums of activations of either half of its blocks, times
// 1<<zero.
func (s isa) halfSums(ofX Op, half, zero int) reg.VecVirtual {
	v := s.vec()
	if half == 0 {
		s.shiftLeft(16, ofX, v)
	} else {
		VMOVUPS(ofX, v)
		s.and(s.words32("upper", 0xffff0000), v, v)
	}
	VPSRAD(U8(16-zero), v, v)
	return v
}

// blockSums is a part's sums of activations.
func (s isa) blockSums(ofX Op) reg.VecVirtual {
	v := s.loadFrom(ofX)
	VPMADDWD(s.words32("ones", 0x00010001), v, v)
	return v
}

// signedHere reports whether the set takes the codes of b signed.
func (b *block) signedHere(s isa) bool { return b.signed && s.width == 8 }

func (s isa) loadFrom(m Op) reg.VecVirtual {
	v := s.vec()
	VMOVUPS(m, v)
	return v
}

// shiftLeft shifts 32-bit lanes of memory, which AVX2 loads first.
func (s isa) shiftLeft(n uint8, m Op, v reg.VecVirtual) {
	if s.width == 16 {
		VPSLLD(U8(n), m, v)
		return
	}
	VMOVUPS(m, v)
	VPSLLD(U8(n), v, v)
}

// words32 is a constant in memory, again and again.
func (s isa) words32(name string, v uint32) Mem {
	return s.constant(name, func(i int) byte { return byte(v >> (i % 4 * 8)) })
}

// blocked is the rowKernel of b for one row at a time.
func (s isa) blocked(b *block) rowKernel {
	c, size := s.blockConsts(b), chunkBlocks*32/b.elems*b.bytes
	parts := 16 / s.width
	add := func(w, x reg.Register, acc []reg.VecVirtual) {
		s.addChunk(b, c, w, func(_, disp int) Op { return at(x, disp) }, [][]reg.VecVirtual{acc})
	}
	return rowKernel{
		step: size, xStep: roundBytes, sums: parts, add: add,
		row: func(w, n, x, next reg.Register) reg.VecVirtual {
			acc := s.vecs(parts)
			s.zero(acc...)
			s.chunkLoop(b, size, w, x, next, n, func() { add(w, x, acc) })
			return s.reduce(acc)
		},
	}
}

// chunkLoop runs body for every chunk of the n bytes at wp, of size bytes. Blocks
// that are left over go to the stack, which pads them with zeros to a chunk.
func (s isa) chunkLoop(b *block, size int, wp, xp, np, n reg.Register, body func()) {
	room := (size + 63) &^ 63
	stack := AllocLocal(room)
	Label("chunk")
	CMPQ(n, U32(size))
	JL(LabelRef("rest"))
	Label("body")
	prefetch(np, 0, size)
	body()
	ADDQ(U32(size), wp)
	ADDQ(U32(size), np)
	ADDQ(U32(roundBytes), xp)
	SUBQ(U32(size), n)
	JMP(LabelRef("chunk"))

	Label("rest")
	CMPQ(n, U32(b.bytes))
	JL(LabelRef("reduce"))
	zero, from, to, end := YMM(), GP64(), GP64(), GP64()
	VPXOR(zero, zero, zero)
	for o := 0; o < room; o += 32 {
		VMOVDQU(zero, stack.Offset(o))
	}
	// In steps of 16 bytes, of which the last ends with the row.
	LEAQ(stack, to)
	MOVQ(wp, from)
	LEAQ(Mem{Base: wp, Index: n, Scale: 1, Disp: -16}, end)
	Label("copy")
	VMOVDQU(at(from, 0), zero.AsX())
	VMOVDQU(zero.AsX(), at(to, 0))
	ADDQ(U32(16), from)
	ADDQ(U32(16), to)
	CMPQ(from, end)
	JL(LabelRef("copy"))
	SUBQ(end, from) // how far too far
	SUBQ(from, to)
	VMOVDQU(at(end, 0), zero.AsX())
	VMOVDQU(zero.AsX(), at(to, 0))
	LEAQ(stack, wp)
	MOVQ(U32(size), n)
	JMP(LabelRef("body"))
	Label("reduce")
}

// blockKernels writes Dot<b>, Spread<b> and, for AVX-512, Pair<b> and Dot4<b>.
func (s isa) blockKernels(b *block) {
	s.dot(b.name, func() rowKernel { return s.blocked(b) })
	if s.width == 16 {
		s.pairOfRows(b, 1)
		if b.head {
			s.pairOfRows(b, 2)
		}
		s.dot4Block(b)
	}
	if !b.halves || b.least == 0 { // which panels have no place for
		s.spread(b)
	}
}

// dot4Block writes Dot4<b>. Each activation's sum takes the very steps of Dot.
func (s isa) dot4Block(b *block) {
	r, np := s.loadDot4(b.name)
	c, size := s.blockConsts(b), chunkBlocks*32/b.elems*b.bytes
	acc := make([][]reg.VecVirtual, 4)
	for t := range acc {
		acc[t] = s.vecs(16 / s.width)
		s.zero(acc[t]...)
	}
	s.chunkLoop(b, size, r.wp, r.xp, np, r.n, func() { s.addChunk(b, c, r.wp, func(t, disp int) Op { return r.x(t, disp) }, acc) })
	var sum [4]reg.VecVirtual
	for t := range sum {
		sum[t] = s.reduce(acc[t])
	}
	r.store(sum)
}
