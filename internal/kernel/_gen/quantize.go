package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quantizeX writes QuantizeBlocks, which fills the records of whole blocks.
func (s isa) quantizeX() {
	s.text("QuantizeBlocks", "func(dst []byte, x []float32, zero int32)",
		"writes the blocks of x to their places in the records of dst: see",
		"Set.QuantizeX of package kernel. Other places it leaves as they are.")
	dp := Load(Param("dst").Base(), GP64())
	xp := Load(Param("x").Base(), GP64())
	n := Load(Param("x").Len(), GP64())
	z := Load(Param("zero"), GP32()) // not broadcast from memory: vet mistakes its size
	zero, sign, inf := YMM(), broadcast32(0x7fffffff), broadcast32(0x7f800000)
	VMOVD(z, zero.AsX())
	VPBROADCASTD(zero.AsX(), zero)
	most, order := broadcast32(0x42fe0000), YMM() // 127
	quad := GP64()
	MOVQ(U64(0x07030602_05010400), quad)
	VMOVQ(quad, order.AsX())
	VPMOVZXBD(order.AsX(), order)
	ones8, ones16, nan := broadcast32(0x01010101), broadcast32(0x00010001), broadcast32(0x7fc00000)
	place := GP64() // of the block in its group, in bytes
	XORQ(place, place)

	Label("block")
	CMPQ(n, U32(32))
	JL(LabelRef("done"))
	v := s.vecs(4)
	for i := range v {
		VPAND(at(xp, i*32), sign, v[i])
	}
	top := broadcastMax(v)
	scale, inv, fine, bad := YMM(), YMM(), YMM(), YMM()
	VDIVPS(most, top, scale) // top / 127
	VDIVPS(top, most, inv)   // 127 / top
	// Where one is infinite or NaN the codes are zero; the scale is NaN where
	// top is, else zero.
	VPCMPGTD(top, inf, bad)
	VPCMPGTD(inv, inf, fine)
	VPAND(bad, fine, fine)
	VPAND(fine, scale, scale)
	VPANDN(nan, bad, bad)
	VPOR(bad, scale, scale)
	v = s.vecs(4)
	for i := range v {
		VMULPS(at(xp, i*32), inv, v[i])
		VCVTPS2DQ(v[i], v[i])
		VPAND(fine, v[i], v[i])
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	sum, high := YMM(), XMM()
	VPMADDUBSW(v[0], ones8, sum)
	VPMADDWD(ones16, sum, sum)
	VEXTRACTI128(U8(1), sum, high)
	VPADDD(high, sum.AsX(), sum.AsX())
	VPMULLD(zero.AsX(), sum.AsX(), sum.AsX())
	out := func(part int) Mem { return Mem{Base: dp, Index: place, Scale: 1, Disp: part} }
	VMOVDQU(v[0].AsX(), out(recordLow))
	VEXTRACTI128(U8(1), v[0], out(recordHigh))
	VMOVDQU(sum.AsX(), out(recordZero))
	VMOVUPS(scale.AsX(), out(recordScale))

	ADDQ(U32(32*4), xp)
	SUBQ(U32(32), n)
	ADDQ(U32(recordBlock), place)
	TESTQ(U32(63), place)
	JNZ(LabelRef("block"))
	ADDQ(U32(recordBytes), dp)
	XORQ(place, place)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// broadcastMax sets m[0] to the largest lane of the registers m, in every lane.
// Without its sign a float32 orders as its bits do, and infinity and NaN above all
// others.
func broadcastMax(m []reg.VecVirtual) reg.VecVirtual {
	VPMAXUD(m[1], m[0], m[0])
	VPMAXUD(m[3], m[2], m[2])
	VPMAXUD(m[2], m[0], m[0])
	VPERM2I128(U8(1), m[0], m[0], m[1])
	VPMAXUD(m[1], m[0], m[0])
	for _, lanes := range []uint8{0x4e, 0xb1} { // swap halves, then neighbours
		VPSHUFD(U8(lanes), m[0], m[1])
		VPMAXUD(m[1], m[0], m[0])
	}
	return m[0]
}
