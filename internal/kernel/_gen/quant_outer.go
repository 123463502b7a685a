package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A block in pairs is 16 words: word i holds the codes of elements i and 16+i
// as bfloat16, which is exact, in its lower and its upper half. A shift and a
// mask make floats of them; widening bytes, across a register, takes longer
// than all else that there is to do.
const pairBlock = 64 // bytes

// pairs writes Pairs<q>.
func (s isa) pairs(q quant) {
	s.text("Pairs"+q.name, "func(codes []uint32, scales []float32, w []byte, next *byte)", "is Rows.Pairs of package kernel.")
	cp := Load(Param("codes").Base(), GP64())
	sp := Load(Param("scales").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	np := prefetchBase(wp)
	codes := s.codes(q)
	elementLoops(n, []int{q.bytes}, []ptr{{wp, 1}, {np, 1}}, func(int) {
		prefetch(np, 0, q.bytes)
		scale, bits := XMM(), GP32()
		MOVWLZX(at(wp, 0), bits)
		VMOVD(bits, scale)
		VCVTPH2PS(scale, scale)
		VMOVSS(scale, at(sp, 0))
		v := codes(wp)
		for i := range 2 {
			low, high := v[i], v[i+2]
			VPSRLD(U8(16), low, low)
			VPOR(high, low, low)
			VMOVUPS(low, at(cp, i*32))
		}
		ADDQ(U32(pairBlock), cp)
		ADDQ(U32(4), sp)
	})
	VZEROUPPER()
	RET()
}

// outerPairs writes OuterPairs: 8 registers hold the sums of all columns or of
// half of them. Four blocks' scales are multiplied with the activation at once,
// in each quarter of a register, where a shuffle then finds all of them.
func (s isa) outerPairs() {
	s.text("OuterPairs", "func(y []float32, h []float32, rows []int32, codes []uint32, scales []float32, next *float32)",
		"is Set.OuterPairs of package kernel.")
	codes := Load(Param("codes").Base(), GP64())
	sp := Load(Param("scales").Base(), GP64())
	np := Load(Param("next"), GP64())
	mask, bits := s.vec(), GP32()
	MOVL(U32(0xffff0000), bits)
	VMOVD(bits, mask.AsX())
	VPBROADCASTD(mask.AsX(), mask)
	s.listed(func(first int) {
		for o := 0; o < 8*s.width*4; o += 64 {
			PREFETCHT0(at(np, 4*first+o))
		}
	}, func(first int, row, h reg.Register, acc []reg.VecVirtual) {
		scale, a, d := GP64(), s.vec(), s.vec()
		MOVQ(row, scale)
		SHLQ(U8(8), row)
		SHLQ(U8(4), scale)
		VBROADCASTSS(at(h, 0), a)
		if m := (Mem{Base: sp, Index: scale, Scale: 1}); s.width == 16 {
			VBROADCASTF32X4(m, d)
		} else {
			VBROADCASTF128(m, d)
		}
		VMULPS(a, d, d)
		for b := range 8 * s.width / 32 {
			product := s.vec()
			VPERMILPS(U8(0x55*(first/32+b)), d, product)
			half := 16 / s.width // registers of a block's words
			for i := range half {
				m := Mem{Base: codes, Index: row, Scale: 1, Disp: 2*first + b*pairBlock + i*s.width*4}
				low, high := s.vec(), s.vec()
				if s.width == 16 {
					VPSLLD(U8(16), m, low)
					VPANDD(m, mask, high)
				} else {
					VMOVDQU(m, high)
					VPSLLD(U8(16), high, low)
					VPAND(mask, high, high)
				}
				VFMADD231PS(product, low, acc[2*half*b+i])
				VFMADD231PS(product, high, acc[2*half*b+half+i])
			}
		}
	})
	RET()
}
