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
	zero := YMM()
	VMOVD(z, zero.AsX())
	VPBROADCASTD(zero.AsX(), zero)
	r := newRounding()
	place := GP64() // of the block in its group, in bytes
	XORQ(place, place)

	Label("block")
	CMPQ(n, U32(32))
	JL(LabelRef("done"))
	codes, scale := r.block(s, xp)
	sum, high := YMM(), XMM()
	VPMADDUBSW(codes, r.ones8, sum)
	VPMADDWD(r.ones16, sum, sum)
	VEXTRACTI128(U8(1), sum, high)
	VPADDD(high, sum.AsX(), sum.AsX())
	VPMULLD(zero.AsX(), sum.AsX(), sum.AsX())
	out := func(part int) Mem { return Mem{Base: dp, Index: place, Scale: 1, Disp: part} }
	VMOVDQU(codes.AsX(), out(recordLow))
	VEXTRACTI128(U8(1), codes, out(recordHigh))
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

// rounding is the constants of rounding to 8 bits.
type rounding struct{ sign, inf, most, order, ones8, ones16, nan reg.VecVirtual }

func newRounding() rounding {
	r := rounding{sign: broadcast32(0x7fffffff), inf: broadcast32(0x7f800000), most: broadcast32(0x42fe0000), order: YMM()} // 127
	quad := GP64()
	MOVQ(U64(0x07030602_05010400), quad)
	VMOVQ(quad, r.order.AsX())
	VPMOVZXBD(r.order.AsX(), r.order)
	r.ones8, r.ones16, r.nan = broadcast32(0x01010101), broadcast32(0x00010001), broadcast32(0x7fc00000)
	return r
}

// block is the codes and, in every lane, the scale of the block at xp.
func (r rounding) block(s isa, xp reg.Register) (codes, scale reg.VecVirtual) {
	v := s.vecs(4)
	for i := range v {
		VPAND(at(xp, i*32), r.sign, v[i])
	}
	top := broadcastMax(v)
	inv, fine, bad := YMM(), YMM(), YMM()
	scale = YMM()
	VDIVPS(r.most, top, scale) // top / 127
	VDIVPS(top, r.most, inv)   // 127 / top
	// Where one is infinite or NaN the codes are zero; the scale is NaN where
	// top is, else zero.
	VPCMPGTD(top, r.inf, bad)
	VPCMPGTD(inv, r.inf, fine)
	VPAND(bad, fine, fine)
	VPAND(fine, scale, scale)
	VPANDN(r.nan, bad, bad)
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
	VPERMD(v[0], r.order, v[0])
	return v[0], scale
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

// roundX writes RoundBlocks, which fills the records of whole blocks for kernels
// over chunks.
func (s isa) roundX() {
	s.text("RoundBlocks", "func(dst []byte, x []float32)",
		"writes the blocks of x to their places in the records of dst: see",
		"Set.RoundX of package kernel. Other places it leaves as they are.")
	dp := Load(Param("dst").Base(), GP64())
	xp := Load(Param("x").Base(), GP64())
	n := Load(Param("x").Len(), GP64())
	r := newRounding()
	at16, place := GP64(), GP64() // of the block in its chunk: its number, and where its codes are
	XORQ(at16, at16)

	Label("block")
	CMPQ(n, U32(32))
	JL(LabelRef("done"))
	codes, scale := r.block(s, xp)
	sums, high := YMM(), XMM()
	VPMADDUBSW(codes, r.ones8, sums)
	VPMADDWD(r.ones16, sums, sums)
	VPHADDD(sums, sums, sums)
	VPHADDD(sums, sums, sums)
	// Block b of a chunk has its codes at 128 (b mod 4) + 16 (b/4).
	MOVQ(at16, place)
	ANDQ(U8(3), place)
	SHLQ(U8(7), place)
	quarter := GP64()
	MOVQ(at16, quarter)
	SHRQ(U8(2), quarter)
	SHLQ(U8(4), quarter)
	ADDQ(quarter, place)
	out := func(disp int) Mem { return Mem{Base: dp, Index: place, Scale: 1, Disp: disp} }
	VMOVDQU(codes.AsX(), out(0))
	VEXTRACTI128(U8(1), codes, out(64))
	of := func(disp int) Mem { return Mem{Base: dp, Index: at16, Scale: 4, Disp: disp} }
	VMOVSS(scale.AsX(), of(roundScales))
	VPEXTRW(U8(0), sums.AsX(), of(roundSums))
	VEXTRACTI128(U8(1), sums, high)
	VPEXTRW(U8(0), high, of(roundSums+2))
	VPADDD(high, sums.AsX(), high)
	VCVTDQ2PS(high, high)
	VMULSS(scale.AsX(), high, high)
	VMOVSS(high, of(roundLeast))

	ADDQ(U32(32*4), xp)
	SUBQ(U32(32), n)
	INCQ(at16)
	ANDQ(U8(chunkBlocks-1), at16)
	JNZ(LabelRef("block"))
	ADDQ(U32(roundBytes), dp)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}
