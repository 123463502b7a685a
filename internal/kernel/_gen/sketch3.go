package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dotU3S8 unpacks 32 codes at a time. A pair of products is at most 2*7*127 in
// magnitude, and 16 bits hold the eight of a block.
func (s isa) dotU3S8() {
	wp, n, x := sketch3.dot(s, 1, "")
	xp := x.xp
	acc, ones, low, high := YMM(), broadcast32(0x00010001), broadcast32(0x03030303), broadcast32(0x04040404)
	s.zero(acc)
	sketch3.loop(wp, xp, n, []int{1}, func(int) {
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
	sketch3.dotVNNI(s, rows, 4/min(rows, 2), []int{1}, func() func(reg.Register, int, func(int, reg.VecVirtual)) {
		// Turns bring the first 64 codes' bits to where the masks have them: 4 or 2
		// bits further are the next.
		code, low := broadcast32Z(0x07070707), broadcast32Z(0x03030303)
		pairTurn, topTurn := halves64(0, 2), halves64(-2&63, -1&63)
		return func(wp reg.Register, _ int, use func(int, reg.VecVirtual)) {
			top, pairs := ZMM(), ZMM()
			VBROADCASTI64X4(at(wp, sketch3High), top)
			VPRORVQ(topTurn, top, top)
			for i := range 4 {
				if i > 0 {
					VPRORQ(U8(2), top, top)
				}
				if i%2 == 0 {
					VBROADCASTI64X4(at(wp, i/2*32), pairs)
					VPRORVQ(pairTurn, pairs, pairs)
				} else {
					VPRORQ(U8(4), pairs, pairs)
				}
				v := ZMM()
				VMOVDQA64(pairs, v)
				VPTERNLOGD(U8(0xe2), top, low, v) // v where low is set, else top
				VPANDD(code, v, v)
				use(i, v)
			}
		}
	})
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
