package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
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

// encodeF16 writes EncodeF16: float32 to 16 bits, rounding half to even by the
// immediate, whatever MXCSR says.
func (s isa) encodeF16() {
	s.text("EncodeF16", "func(dst []uint16, src []float32)", "is Set.EncodeF16 of package kernel.")
	dp := Load(Param("dst").Base(), GP64())
	sp := Load(Param("src").Base(), GP64())
	n := Load(Param("src").Len(), GP64())
	ptrs := []ptr{{sp, 4}, {dp, 2}}
	elementLoops(n, []int{32, 8}, ptrs, func(elems int) {
		for i := 0; i < elems; i += 8 {
			v := YMM()
			VMOVUPS(at(sp, i*4), v)
			VCVTPS2PH(U8(0), v, at(dp, i*2))
		}
	})
	elementLoops(n, []int{1}, ptrs, func(int) {
		v, r := XMM(), GP32()
		VMOVSS(at(sp, 0), v)
		VCVTPS2PH(U8(0), v, v)
		VMOVD(v, r)
		MOVW(r.As16(), at(dp, 0))
	})
	VZEROUPPER()
	RET()
}
