package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy4Quant writes Axpy4<q>: the very steps of axpyQuant for four rows, while a
// block of y is in registers. One row at a time is bound by reading and writing
// y, which has many times the row's bytes.
func (s isa) axpy4Quant(q quant) {
	s.text("Axpy4"+q.name, "func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)", "is Set.Axpy4"+q.name+" of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	n := GP64()
	var wp, np [4]reg.GPVirtual
	var a [4]reg.VecVirtual
	rows, factors, ahead := GP64(), GP64(), GP64()
	Load(Param("w"), rows)
	Load(Param("a"), factors)
	Load(Param("next"), ahead)
	MOVQ(at(rows, 8), n) // length of the first
	for i := range wp {
		wp[i], np[i], a[i] = GP64(), GP64(), s.vec()
		VBROADCASTSS(at(factors, 4*i), a[i])
		MOVQ(at(ahead, 8*i), np[i])
	}
	for i := range wp {
		MOVQ(at(rows, 24*i), wp[i])
	}
	codes := s.codes(q)
	y := s.vecs(32 / s.width)
	Label("block")
	CMPQ(n, U32(q.bytes))
	JL(LabelRef("done"))
	for i, v := range y {
		VMOVUPS(at(yp, i*s.width*4), v)
	}
	for r := range wp {
		prefetch(np[r], 0, q.bytes)
		scale := s.vec()
		half := scale.AsX().(reg.VecVirtual) // the register that widens to scale
		if s.width == 16 {
			half = scale.AsY().(reg.VecVirtual)
		}
		VPBROADCASTW(at(wp[r], 0), half)
		VCVTPH2PS(half, scale)
		VMULPS(a[r], scale, scale)
		for i, v := range codes(wp[r]) {
			VFMADD231PS(scale, v, y[i])
		}
		ADDQ(U32(q.bytes), wp[r])
		ADDQ(U32(q.bytes), np[r])
	}
	for i, v := range y {
		VMOVUPS(v, at(yp, i*s.width*4))
	}
	ADDQ(U32(32*4), yp)
	SUBQ(U32(q.bytes), n)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}
