package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy4Q4 writes Axpy4Q4 for AVX-512: the very steps of axpyQuant. Rows of Q4 are
// so short that by AVX2 their arithmetic takes longer than memory does.
func (s isa) axpy4Q4() {
	yp, r := s.axpyArguments("Q4", 4)
	codes := s.q4Codes()
	block := func(scale func(row int) reg.VecVirtual) { s.addBlock(q4, yp, r, codes, scale) }
	s.q4Groups(r, block)
	elementLoops(r.bytes, []int{q4.bytes}, nil, func(int) {
		block(func(row int) reg.VecVirtual { return s.blockScale(q4, r, row) })
	})
	VZEROUPPER()
	RET()
}

// q4Groups adds while there are eight blocks of a row. Their scales, which lie a
// block apart, are taken together and converted at once: by block that was half
// of the instructions that only one port takes.
func (s isa) q4Groups(r addends, block func(scale func(row int) reg.VecVirtual)) {
	const blocks = 8
	// The scales are words 0, 9, ... 63 of the first 128 bytes.
	order, quad, high := ZMM(), GP64(), XMM()
	MOVQ(U64(27<<48|18<<32|9<<16), quad)
	VMOVQ(quad, order.AsX())
	MOVQ(U64(63<<48|54<<32|45<<16|36), quad)
	VMOVQ(quad, high)
	VPUNPCKLQDQ(high, order.AsX(), order.AsX())
	scales := AllocLocal(4 * blocks * 4)
	sp, left := GP64(), GP64()
	Label("group")
	CMPQ(r.bytes, U32(blocks*q4.bytes))
	JL(LabelRef("grouped"))
	for row, wp := range r.w {
		r.prefetch(row, blocks*q4.bytes)
		v := ZMM()
		VMOVDQU16(at(wp, 0), v)
		VPERMT2W(at(wp, 64), order, v)
		VCVTPH2PS(v.AsX(), v.AsY())
		VMULPS(r.a[row].AsY(), v.AsY(), v.AsY())
		VMOVUPS(v.AsY(), scales.Offset(4*blocks*row))
	}
	LEAQ(scales, sp)
	MOVQ(U32(blocks), left)
	Label("of_group")
	block(func(row int) reg.VecVirtual {
		d := ZMM()
		VBROADCASTSS(at(sp, 4*blocks*row), d)
		return d
	})
	ADDQ(U8(4), sp)
	DECQ(left)
	JNZ(LabelRef("of_group"))
	SUBQ(U32(blocks*q4.bytes), r.bytes)
	JMP(LabelRef("group"))
	Label("grouped")
}

// q4Codes is codes for AVX-512. The low code of each byte picks its value from a
// table, the high one becomes the last bits of a float of 2^19 or a little more:
// the two take other units of a processor.
func (s isa) q4Codes() func(wp reg.Register) []reg.VecVirtual {
	values, upper := ZMM(), ZMM() // the sixteen values of a code in order
	for half, v := range []reg.VecVirtual{values, upper} {
		quad := GP64()
		MOVQ(U64([]uint64{0xfffefdfc_fbfaf9f8, 0x07060504_03020100}[half]), quad)
		VMOVQ(quad, v.AsX())
		VPMOVSXBD(v.AsX(), v.AsY())
	}
	VINSERTI64X4(U8(1), upper.AsY(), values, values)
	VCVTDQ2PS(values, values)
	mask, bias, zero := broadcast32Z(0xf0), broadcast32Z(0x49000000), broadcast32Z(0x49000080) // 2^19 and 2^19+8
	return func(wp reg.Register) []reg.VecVirtual {
		v := s.vecs(2)
		VPMOVZXBD(at(wp, 2), v[1])
		VPERMPS(values, v[1], v[0])            // by the low four bits of each
		VPTERNLOGD(U8(0xec), mask, bias, v[1]) // v AND mask OR bias
		VSUBPS(zero, v[1], v[1])
		return v
	}
}
