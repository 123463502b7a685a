package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A block of a sketch of 3 bits is 256 codes in 96 bytes: their lower two bits
// in 64 bytes and then their highest bits in 32. Package kernel says which bit
// lies where.
const (
	sketch3Codes = 256
	sketch3Bytes = 96
	sketch3High  = 64 // where the highest bits begin
)

// dotU3S8 unpacks 32 codes at a time. A pair of products is at most 2*7*127 in
// magnitude, and 16 bits hold the eight of a block.
func (s isa) dotU3S8() {
	s.text("DotU3S8", sketchSig, "is Set.DotU3S8 of package kernel.")
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	xp := Load(Param("x").Base(), GP64())
	acc, ones, low, high := YMM(), broadcast32(0x00010001), broadcast32(0x03030303), broadcast32(0x04040404)
	s.zero(acc)
	sketch3Loop(wp, xp, n, func() {
		top, sum := YMM(), YMM()
		var pairs reg.VecVirtual
		VMOVDQU(at(wp, sketch3High), top)
		for i := range 8 {
			if i%4 == 0 {
				pairs = YMM()
				VMOVDQU(at(wp, i/4*32), pairs)
			}
			v, b := YMM(), YMM()
			VPSRLW(U8(i%4*2), pairs, v)
			VPAND(low, v, v)
			if i < 2 {
				VPSLLW(U8(2-i), top, b)
			} else {
				VPSRLW(U8(i-2), top, b)
			}
			VPAND(high, b, b)
			VPOR(b, v, v)
			VPMADDUBSW(at(xp, i*32), v, v)
			if i == 0 {
				VMOVDQA(v, sum)
			} else {
				VPADDW(v, sum, sum)
			}
		}
		VPMADDWD(ones, sum, sum)
		VPADDD(sum, acc, acc)
	})
	storeSum32(acc)
	RET()
}

// dotU3S8VNNI lays 32 bytes twice into a register and turns each half by
// another count, which gives 64 codes in the order of x. For four rows of x they
// are laid out once.
func (s isa) dotU3S8VNNI(rows int) {
	if rows == 1 {
		s.text("DotU3S8", sketchSig, "is Set.DotU3S8 of package kernel. It needs AVX512_VNNI.")
	} else {
		s.text("Dot4U3S8", sketch4Sig, "is Set.Dot4U3S8 of package kernel. It needs AVX512_VNNI.")
	}
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	r := rows4{xp: Load(Param("x").Base(), GP64())}
	if rows == 4 {
		r.stride, r.stride3 = Load(Param("stride"), GP64()), GP64()
		LEAQ(Mem{Base: r.stride, Index: r.stride, Scale: 2}, r.stride3)
	}
	acc := make([][]reg.VecVirtual, rows)
	for j := range acc {
		acc[j] = s.vecs(4 / min(rows, 2))
		s.zero(acc[j]...)
	}
	// Turns bring the first 64 codes' bits to where the masks have them: 4 or 2
	// bits further are the next.
	code, low := broadcast32Z(0x07070707), broadcast32Z(0x03030303)
	pairTurn, topTurn := halves64(0, 2), halves64(-2&63, -1&63)
	sketch3Loop(wp, r.xp, n, func() {
		prefetch(wp, ahead, 128)
		top := ZMM()
		VBROADCASTI64X4(at(wp, sketch3High), top)
		VPRORVQ(topTurn, top, top)
		var pairs reg.VecVirtual
		for i := range 4 {
			if i > 0 {
				VPRORQ(U8(2), top, top)
			}
			if i%2 == 0 {
				pairs = ZMM()
				VBROADCASTI64X4(at(wp, i/2*32), pairs)
				VPRORVQ(pairTurn, pairs, pairs)
			} else {
				VPRORQ(U8(4), pairs, pairs)
			}
			v := ZMM()
			VMOVDQA64(pairs, v)
			VPTERNLOGD(U8(0xe2), top, low, v) // v where low is set, else top
			VPANDD(code, v, v)
			for j := range acc {
				VPDPBUSD(r.x(j, i*64), v, acc[j][i%len(acc[j])])
			}
		}
	})
	for j, a := range acc {
		for half := len(a) / 2; half > 0; half /= 2 {
			for i := range half {
				VPADDD(a[half+i], a[i], a[i])
			}
		}
		storeSum32Z(a[0], rows, j)
	}
	VZEROUPPER()
	RET()
}

// sketch3Loop walks the whole blocks of the n bytes at wp.
func sketch3Loop(wp, xp, n reg.Register, block func()) {
	Label("blocks")
	CMPQ(n, U32(sketch3Bytes))
	JL(LabelRef("after"))
	block()
	ADDQ(U32(sketch3Bytes), wp)
	ADDQ(U32(sketch3Codes), xp)
	SUBQ(U32(sketch3Bytes), n)
	JMP(LabelRef("blocks"))
	Label("after")
}

// storeSum32Z returns the sum of sixteen int32: all that the function returns, or
// the j-th of four.
func storeSum32Z(z reg.VecVirtual, of, j int) {
	y, hi, x := z.AsY(), YMM(), XMM()
	VEXTRACTI64X4(U8(1), z, hi)
	VPADDD(hi, y, hi)
	VEXTRACTI128(U8(1), hi, x)
	VPADDD(hi.AsX(), x, x)
	VPHADDD(x, x, x)
	VPHADDD(x, x, x)
	sum := GP32()
	VMOVD(x, sum)
	if of == 1 {
		Store(sum, ReturnIndex(0))
	} else {
		Store(sum, ReturnIndex(0).Index(j))
	}
}

// broadcast32Z fills a ZMM register with one 32-bit constant.
func broadcast32Z(v uint32) reg.VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
	return z
}

// halves64 fills the lower half of a ZMM register with one 64-bit constant and
// the upper with another.
func halves64(low, high int) reg.VecVirtual {
	r, z, y := GP64(), ZMM(), YMM()
	MOVQ(U64(low), r)
	VPBROADCASTQ(r, z)
	MOVQ(U64(high), r)
	VPBROADCASTQ(r, y)
	VINSERTI64X4(U8(1), y, z, z)
	return z
}
