package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpyQuant writes Axpy<q>: one FMA an element, of its code and the block's
// scale times a.
func (s isa) axpyQuant(q quant) {
	s.text("Axpy"+q.name, "func(y []float32, a float32, w []byte, next *byte)", "is Rows.Axpy of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	np := prefetchBase(wp)
	a := s.vec()
	VBROADCASTSS(paramAddr("a"), a)
	codes := s.codes(q)
	blockLoop(q, n, func() {
		prefetch(np, 0, q.bytes)
		scale := blockScale(wp, a)
		for i, v := range codes(wp) {
			VFMADD213PS(at(yp, i*32), scale, v)
			VMOVUPS(v, at(yp, i*32))
		}
		ADDQ(U32(q.bytes), wp)
		ADDQ(U32(q.bytes), np)
		ADDQ(U32(32*4), yp)
	})
	VZEROUPPER()
	RET()
}

// axpy4Quant writes Axpy4<q>: the very steps of axpyQuant for four rows, while a
// block of y is in registers. One row at a time is bound by reading and writing
// y, which has many times the row's bytes.
func (s isa) axpy4Quant(q quant) {
	s.text("Axpy4"+q.name, "func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)", "is Rows.Axpy4 of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	r := s.loadFour()
	codes, y := s.codes(q), s.vecs(4)
	blockLoop(q, r.bytes, func() {
		for i, v := range y {
			VMOVUPS(at(yp, i*32), v)
		}
		for row, wp := range r.w {
			prefetch(r.next[row], 0, q.bytes)
			ADDQ(U32(q.bytes), r.next[row])
			scale := blockScale(wp, r.a[row])
			for i, v := range codes(wp) {
				VFMADD231PS(scale, v, y[i])
			}
			ADDQ(U32(q.bytes), wp)
		}
		for i, v := range y {
			VMOVUPS(v, at(yp, i*32))
		}
		ADDQ(U32(32*4), yp)
	})
	VZEROUPPER()
	RET()
}

// blockLoop runs body for every block of n bytes.
func blockLoop(q quant, n reg.Register, body func()) {
	Label("block")
	CMPQ(n, U32(q.bytes))
	JL(LabelRef("done"))
	body()
	SUBQ(U32(q.bytes), n)
	JMP(LabelRef("block"))
	Label("done")
}

// blockScale is the scale of the block at wp times a.
func blockScale(wp reg.Register, a reg.VecVirtual) reg.VecVirtual {
	scale := YMM()
	VPBROADCASTW(at(wp, 0), scale.AsX())
	VCVTPH2PS(scale.AsX(), scale)
	VMULPS(a, scale, scale)
	return scale
}

// codes prepares the constants of q and returns what widens a block's codes to
// float32, in the order of the elements.
func (s isa) codes(q quant) func(wp reg.Register) []reg.VecVirtual {
	if q == q8 {
		return func(wp reg.Register) []reg.VecVirtual {
			v := s.vecs(4)
			for i := range v {
				VPMOVSXBD(at(wp, 2+i*8), v[i])
				VCVTDQ2PS(v[i], v[i])
			}
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
