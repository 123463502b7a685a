package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// decode writes Decode<t>: 16-bit weights to float32.
func (s isa) decode(t dtype) {
	s.text("Decode"+t.name, "func(dst []float32, src []uint16)",
		"is Set.Decode"+t.name+" of package kernel.")
	dp := Load(Param("dst").Base(), GP64())
	sp := Load(Param("src").Base(), GP64())
	n := Load(Param("src").Len(), GP64())
	ptrs := []ptr{{sp, 2}, {dp, 4}}
	elementLoops(n, []int{32, 8}, ptrs, func(elems int) {
		for i := 0; i < elems; i += 8 {
			v := YMM()
			s.loadW(t, at(sp, i*2), v)
			VMOVUPS(v, at(dp, i*4))
		}
	})
	elementLoops(n, []int{1}, ptrs, func(int) {
		v := XMM()
		loadW1(t, at(sp, 0), v)
		VMOVSS(v, at(dp, 0))
	})
	VZEROUPPER()
	RET()
}

// encode writes Encode<t>: float32 to 16 bits, rounding half to even.
func (s isa) encode(t dtype) {
	s.text("Encode"+t.name, "func(dst []uint16, src []float32)",
		"is Set.Encode"+t.name+" of package kernel.")
	dp := Load(Param("dst").Base(), GP64())
	sp := Load(Param("src").Base(), GP64())
	n := Load(Param("src").Len(), GP64())
	narrow := narrowF16
	if t == bf16 {
		narrow = narrowBF16()
	}
	ptrs := []ptr{{sp, 4}, {dp, 2}}
	elementLoops(n, []int{32, 8}, ptrs, func(elems int) {
		for i := 0; i < elems; i += 8 {
			v := YMM()
			VMOVUPS(at(sp, i*4), v)
			VMOVDQU(narrow(v), at(dp, i*2))
		}
	})
	elementLoops(n, []int{1}, ptrs, func(int) {
		v, r := YMM(), GP32()
		VMOVSS(at(sp, 0), v.AsX())
		VMOVD(narrow(v), r)
		MOVW(r.As16(), at(dp, 0))
	})
	VZEROUPPER()
	RET()
}

// narrowF16 rounds by the immediate, whatever MXCSR says.
func narrowF16(v reg.VecVirtual) reg.VecVirtual {
	x := XMM()
	VCVTPS2PH(U8(0), v, x)
	return x
}

// narrowBF16 returns a function that rounds eight float32 to bfloat16: it adds
// just under half a unit, and the last one where the kept part is odd. NaN
// would carry into infinity, so it keeps its upper half and turns quiet.
func narrowBF16() func(reg.VecVirtual) reg.VecVirtual {
	one, half, quiet := broadcast32(1), broadcast32(0x7fff), broadcast32(0x40)
	return func(v reg.VecVirtual) reg.VecVirtual {
		kept, odd, nan := YMM(), YMM(), YMM()
		VPSRLD(U8(16), v, kept)
		VPAND(one, kept, odd)
		VCMPPS(U8(3), v, v, nan) // unordered
		VPADDD(half, v, v)
		VPADDD(odd, v, v)
		VPSRLD(U8(16), v, v)
		VPOR(quiet, kept, kept)
		VBLENDVPS(nan, kept, v, v)
		x := XMM()
		VEXTRACTI128(U8(1), v, x)
		VPACKUSDW(x, v.AsX(), x)
		return x
	}
}
