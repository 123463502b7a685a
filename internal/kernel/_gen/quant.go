package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A quant is a type that is stored in blocks of 32 elements: a float16 scale
// and then the codes. Kernels take four blocks at a time, a group.
type quant struct {
	name  string
	bytes int // of a block
}

var (
	q8 = quant{"Q8", 34}
	q4 = quant{"Q4", 18}
)

// The parts of a group's record of activations, by their offset in bytes: see
// Set.QuantizeX of package kernel.
const (
	recordLow   = 0   // [4 blocks, 16] codes of elements 0 to 15
	recordHigh  = 64  // [4 blocks, 16] codes of elements 16 to 31
	recordZero  = 128 // [4 blocks, 4] int32, what the zero point adds
	recordScale = 192 // [4 blocks, 4] float32
	recordBytes = 256
	recordBlock = 16 // distance of the blocks in each part
)

// weights are the codes and scales of a register's blocks.
type weights struct {
	low, high reg.VecVirtual // codes; unsigned but for Q8 on AVX2
	absLow    reg.VecVirtual // Q8 on AVX2: their magnitudes
	absHigh   reg.VecVirtual
	scale     reg.VecVirtual // float32, one for each four codes of low
}

// quantConsts are the constants of a set's kernels over a quant.
type quantConsts struct {
	mask reg.VecVirtual // what makes the codes unsigned: xor 0x80 or and 0x0f
	ones reg.VecVirtual // AVX2: int16
	pick reg.VecVirtual // AVX-512: the words of a group that hold its scales
	body reg.VecVirtual // Q4 on AVX-512: those that hold the first three blocks' codes
}

func (s isa) quantConsts(q quant) quantConsts {
	var c quantConsts
	if s.width == 8 {
		c.ones = broadcast32(0x00010001)
		if q == q4 {
			c.mask = broadcast32(0x0f0f0f0f)
		}
		return c
	}
	r := GP32()
	if q == q4 {
		MOVL(U32(0x0f0f0f0f), r)
	} else {
		MOVL(U32(0x80808080), r)
	}
	c.mask, c.pick = ZMM(), ZMM()
	VPBROADCASTD(r, c.mask)
	word := GP64()
	MOVQ(U64(uint64(q.bytes/2)<<16|uint64(q.bytes)<<32|uint64(q.bytes/2*3)<<48), word)
	VMOVQ(word, c.pick.AsX())
	// Four words to sixteen, each four times.
	VPUNPCKLWD(c.pick.AsX(), c.pick.AsX(), c.pick.AsX())
	VPMOVZXDQ(c.pick.AsX(), c.pick.AsY())
	high := YMM()
	VPSLLQ(U8(32), c.pick.AsY(), high)
	VPOR(high, c.pick.AsY(), c.pick.AsY())
	if q == q4 {
		c.body = ZMM()
		VMOVDQU32(s.q4Body, c.body)
	}
	return c
}

// q4BodyTable writes the table of the words of a Q4 group that hold its blocks'
// codes. A register holds 32 words, so the last block's end in nothing.
func q4BodyTable() Mem {
	table := GLOBL("quantQ4Body", RODATA|NOPTR)
	for i := range 32 {
		DATA(2*i, U16(i/8*q4.bytes/2+1+i%8))
	}
	return table
}

// groupLoop runs body for every group of the n bytes at wp. Blocks that are
// left over go to the stack, which pads them with zeros to a group.
func (s isa) groupLoop(q quant, wp, xp, np, n reg.Register, body func()) {
	group := 4 * q.bytes
	stack := AllocLocal(192)
	Label("group")
	CMPQ(n, U32(group))
	JL(LabelRef("rest"))
	prefetch(np, 0, group)
	body()
	ADDQ(U32(group), wp)
	ADDQ(U32(group), np)
	ADDQ(U32(recordBytes), xp)
	SUBQ(U32(group), n)
	JMP(LabelRef("group"))

	Label("rest")
	CMPQ(n, U32(q.bytes))
	JL(LabelRef("reduce"))
	zero, to, scale := YMM(), GP64(), GP32()
	VPXOR(zero, zero, zero)
	for o := 0; o < 192; o += 32 {
		VMOVDQU(zero, stack.Offset(o))
	}
	LEAQ(stack, to)
	codes := zero
	if q == q4 {
		codes = zero.AsX().(reg.VecVirtual)
	}
	Label("copy")
	MOVWLZX(at(wp, 0), scale)
	MOVW(scale.As16(), at(to, 0))
	VMOVDQU(at(wp, 2), codes)
	VMOVDQU(codes, at(to, 2))
	ADDQ(U32(q.bytes), wp)
	ADDQ(U32(q.bytes), to)
	SUBQ(U32(q.bytes), n)
	CMPQ(n, U32(q.bytes))
	JGE(LabelRef("copy"))
	LEAQ(stack, wp)
	MOVQ(U32(group), n)
	JMP(LabelRef("group"))
	Label("reduce")
}

// load512 loads a group.
func (s isa) load512(q quant, c quantConsts, wp reg.Register) weights {
	w := weights{low: ZMM(), high: ZMM(), scale: ZMM()}
	gather := func(dst reg.VecVirtual, off int) {
		VBROADCASTI32X4(at(wp, off), dst)
		for b := 1; b < 4; b++ {
			VINSERTI32X4(U8(b), at(wp, b*q.bytes+off), dst, dst)
		}
	}
	if q == q4 {
		// One load has all but the end of the last block: loads are what
		// there are most of.
		raw := ZMM()
		VMOVDQU32(at(wp, 0), raw)
		VPERMW(raw, c.body, w.low)
		VINSERTI32X4(U8(3), at(wp, 3*q.bytes+2), w.low, w.low)
		VPSRLW(U8(4), w.low, w.high)
		VPANDD(c.mask, w.low, w.low)
		VPANDD(c.mask, w.high, w.high)
		VPERMW(raw, c.pick, w.scale)
	} else {
		gather(w.low, 2)
		gather(w.high, 18)
		VPXORD(c.mask, w.low, w.low)
		VPXORD(c.mask, w.high, w.high)
		VMOVDQU32(at(wp, 0), w.scale)
		VPERMT2W(at(wp, 64), c.pick, w.scale)
	}
	VCVTPH2PS(w.scale.AsY(), w.scale)
	return w
}

// load256 loads half a group.
func (s isa) load256(q quant, c quantConsts, wp reg.Register, half int) weights {
	w := weights{low: YMM(), high: YMM(), scale: YMM()}
	first := 2 * half * q.bytes
	pair := func(dst reg.VecVirtual, off int) {
		// A write of the lower half alone would keep dst from other uses.
		VBROADCASTI128(at(wp, first+off), dst)
		VINSERTI128(U8(1), at(wp, first+q.bytes+off), dst, dst)
	}
	pair(w.low, 2)
	if q == q4 {
		VPSRLW(U8(4), w.low, w.high)
		VPAND(c.mask, w.low, w.low)
		VPAND(c.mask, w.high, w.high)
	} else {
		pair(w.high, 18)
		w.absLow, w.absHigh = YMM(), YMM()
		VPABSB(w.low, w.absLow)
		VPABSB(w.high, w.absHigh)
	}
	second := YMM()
	VPBROADCASTW(at(wp, first), w.scale)
	VPBROADCASTW(at(wp, first+q.bytes), second)
	VPUNPCKLQDQ(second, w.scale, w.scale)
	VCVTPH2PS(w.scale.AsX(), w.scale)
	return w
}

// addQuant adds the products of a register's blocks with the record that x
// addresses to acc: each lane is an exact sum of eight products, times the
// product of the scales.
func (s isa) addQuant(q quant, c quantConsts, w weights, x func(disp int) Mem, half int, acc reg.VecVirtual) {
	sum, scale := s.vec(), s.vec()
	off := half * 32
	switch {
	case s.width == 16:
		VMOVDQU32(x(recordZero), sum)
		VPDPBUSD(x(recordLow), w.low, sum)
		VPDPBUSD(x(recordHigh), w.high, sum)
	case q == q4:
		VMOVDQU(x(recordLow+off), sum)
		VMOVDQU(x(recordHigh+off), scale)
		VPMADDUBSW(sum, w.low, sum) // at most 2*15*127
		VPMADDUBSW(scale, w.high, scale)
		VPADDW(scale, sum, sum)
		VPMADDWD(c.ones, sum, sum)
		VPADDD(x(recordZero+off), sum, sum)
	default:
		// The sign goes to the activation. A pair is at most 2*128*127 in
		// magnitude, which 16 bits hold; unsigned codes would saturate.
		VMOVDQU(x(recordLow+off), sum)
		VMOVDQU(x(recordHigh+off), scale)
		VPSIGNB(w.low, sum, sum)
		VPSIGNB(w.high, scale, scale)
		VPMADDUBSW(sum, w.absLow, sum)
		VPMADDUBSW(scale, w.absHigh, scale)
		VPMADDWD(c.ones, sum, sum)
		VPMADDWD(c.ones, scale, scale)
		VPADDD(scale, sum, sum)
	}
	VCVTDQ2PS(sum, sum)
	VMULPS(x(recordScale+off), w.scale, scale)
	VFMADD231PS(scale, sum, acc)
}

// eachHalf calls body with every register of a group.
func (s isa) eachHalf(q quant, c quantConsts, wp reg.Register, body func(w weights, half int)) {
	if s.width == 16 {
		body(s.load512(q, c, wp), 0)
		return
	}
	for half := range 2 {
		body(s.load256(q, c, wp, half), half)
	}
}

// quantised is the rowKernel of q.
func (s isa) quantised(q quant) rowKernel {
	c := s.quantConsts(q)
	add := func(w, x reg.Register, acc []reg.VecVirtual) {
		s.eachHalf(q, c, w, func(w weights, half int) {
			s.addQuant(q, c, w, func(disp int) Mem { return at(x, disp) }, half, acc[half])
		})
	}
	return rowKernel{
		step: 4 * q.bytes, xStep: recordBytes, sums: 16 / s.width, add: add,
		row: func(w, n, x, next reg.Register) reg.VecVirtual {
			acc := s.vecs(16 / s.width)
			s.zero(acc...)
			s.groupLoop(q, w, x, next, n, func() { add(w, x, acc) })
			return s.reduce(acc)
		},
	}
}

// dot4Quant writes Dot4<q>. Each activation's sum takes the very steps of Dot.
func (s isa) dot4Quant(q quant) {
	r, np := s.loadDot4(q.name)
	c := s.quantConsts(q)
	var acc [4][]reg.VecVirtual
	for i := range acc {
		acc[i] = s.vecs(16 / s.width)
		s.zero(acc[i]...)
	}
	s.groupLoop(q, r.wp, r.xp, np, r.n, func() {
		s.eachHalf(q, c, r.wp, func(w weights, half int) {
			for i := range acc {
				s.addQuant(q, c, w, func(disp int) Mem { return r.x(i, disp) }, half, acc[i][half])
			}
		})
	})
	var sum [4]reg.VecVirtual
	for i := range sum {
		sum[i] = s.reduce(acc[i])
	}
	r.store(sum)
}
