package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpyQuant writes Axpy<q>: one FMA an element, of its code and the block's
// scale times a.
func (s isa) axpyQuant(q quant) {
	s.text("Axpy"+q.name, "func(y []float32, a float32, w []byte, next *byte)", "is Set.Axpy"+q.name+" of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	np := prefetchBase(wp)
	am, err := Param("a").Resolve()
	if err != nil {
		panic(err)
	}
	a := s.vec()
	VBROADCASTSS(am.Addr, a)
	codes := s.codes(q)
	Label("block")
	CMPQ(n, U32(q.bytes))
	JL(LabelRef("done"))
	prefetch(np, 0, q.bytes)
	scale := s.vec()
	half := scale.AsX().(reg.VecVirtual) // the register that widens to scale
	if s.width == 16 {
		half = scale.AsY().(reg.VecVirtual)
	}
	VPBROADCASTW(at(wp, 0), half)
	VCVTPH2PS(half, scale)
	VMULPS(a, scale, scale)
	for i, v := range codes(wp) {
		VFMADD213PS(at(yp, i*s.width*4), scale, v)
		VMOVUPS(v, at(yp, i*s.width*4))
	}
	ADDQ(U32(q.bytes), wp)
	ADDQ(U32(q.bytes), np)
	ADDQ(U32(32*4), yp)
	SUBQ(U32(q.bytes), n)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// codes prepares the constants of q and returns what widens a block's codes to
// float32, in the order of the elements.
func (s isa) codes(q quant) func(wp reg.Register) []reg.VecVirtual {
	if q == q8 {
		return func(wp reg.Register) []reg.VecVirtual {
			v := s.vecs(32 / s.width)
			for i := range v {
				VPMOVSXBD(at(wp, 2+i*s.width), v[i])
				VCVTDQ2PS(v[i], v[i])
			}
			return v
		}
	}
	if s.width == 16 {
		// The low code of each byte picks its value from a table, the high one
		// becomes the last bits of a float of 2^19 or a little more: the two take
		// other units of a processor.
		values, mask, bias, zero := s.q4Values(), broadcast32Z(0xf0), broadcast32Z(0x49000000), broadcast32Z(0x49000080) // 2^19 and 2^19+8
		return func(wp reg.Register) []reg.VecVirtual {
			v := s.vecs(2)
			VPMOVZXBD(at(wp, 2), v[1])
			VPERMPS(values, v[1], v[0])            // by the low four bits of each
			VPTERNLOGD(U8(0xec), mask, bias, v[1]) // v AND mask OR bias
			VSUBPS(zero, v[1], v[1])
			return v
		}
	}
	mask, eight := broadcast32(0x0f), broadcast32(8)
	return func(wp reg.Register) []reg.VecVirtual {
		v := s.vecs(4)
		for i := range 2 {
			VPMOVZXBD(at(wp, 2+i*8), v[i])
			VPSRLD(U8(4), v[i], v[i+2])
			VPAND(mask, v[i], v[i])
		}
		for i := range v {
			VPSUBD(eight, v[i], v[i])
			VCVTDQ2PS(v[i], v[i])
		}
		return v
	}
}

// q4Values is the sixteen values of a Q4 code in order: a table of one
// register.
func (s isa) q4Values() reg.VecVirtual {
	values := ZMM()
	for i, hi := range []reg.VecVirtual{values, ZMM()} {
		quad := GP64()
		MOVQ(U64([]uint64{0xfffefdfc_fbfaf9f8, 0x07060504_03020100}[i]), quad)
		VMOVQ(quad, hi.AsX())
		VPMOVSXBD(hi.AsX(), hi.AsY())
		if i == 1 {
			VINSERTI64X4(U8(1), hi.AsY(), values, values)
		}
	}
	VCVTDQ2PS(values, values)
	return values
}

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
	top := s.broadcastMax(xp, sign)
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
	v := s.vecs(4)
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

// broadcastMax is the largest magnitude of the 32 values at xp, in every lane.
// Without its sign a float32 orders as its bits do, and infinity and NaN above
// all others.
func (s isa) broadcastMax(xp reg.Register, sign reg.VecVirtual) reg.VecVirtual {
	m := s.vecs(4)
	for i := range m {
		VPAND(at(xp, i*32), sign, m[i])
	}
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
