package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy writes Axpy<t>: blocks of 64, then registers, then single elements.
// Every element is one FMA, so the order does not matter.
func (s isa) axpy(t dtype) {
	s.text("Axpy"+t.name, "func(y []float32, a float32, w []byte, next *byte)", "is Rows.Axpy of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	t.count(n)
	np := prefetchBase(wp)
	a := s.vec()
	VBROADCASTSS(paramAddr("a"), a)

	step := func(elems int) {
		for i := 0; i < elems; i += s.width {
			v := s.vec()
			s.loadW(t, at(wp, i*t.size), v)
			pace(v, t.axpyPace)
			VFMADD213PS(at(yp, i*4), a, v)
			VMOVUPS(v, at(yp, i*4))
		}
		ADDQ(U32(elems*t.size), wp)
		ADDQ(U32(elems*4), yp)
	}
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(6), blocks)
	JZ(LabelRef("rest"))
	Label("block")
	prefetch(np, 0, lanes*t.size)
	ADDQ(U32(lanes*t.size), np)
	step(lanes)
	DECQ(blocks)
	JNZ(LabelRef("block"))

	Label("rest")
	ANDQ(U32(lanes-1), n)
	Label("register")
	CMPQ(n, U32(s.width))
	JL(LabelRef("ones"))
	step(s.width)
	SUBQ(U32(s.width), n)
	JMP(LabelRef("register"))

	Label("ones")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	Label("one")
	w1 := XMM()
	loadW1(t, at(wp, 0), w1)
	VFMADD213SS(at(yp, 0), a.AsX().(reg.VecVirtual), w1)
	VMOVSS(w1, at(yp, 0))
	ADDQ(U32(t.size), wp)
	ADDQ(U32(4), yp)
	DECQ(n)
	JNZ(LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// axpy4 writes Axpy4<t>: the very steps of axpy for four rows, while 64 elements
// of y are in registers. One row at a time reads and writes twice y's bytes for
// each of its own, or four times.
func (s isa) axpy4(t dtype) {
	s.text("Axpy4"+t.name, "func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)", "is Rows.Axpy4 of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	r := s.loadFour()
	n := r.bytes // and then elements
	t.count(n)

	step := func(elems int) {
		y := s.vecs(elems / s.width)
		for i, v := range y {
			VMOVUPS(at(yp, i*s.width*4), v)
		}
		for row := range r.w {
			for i, v := range y {
				w := s.vec()
				s.loadW(t, at(r.w[row], i*s.width*t.size), w)
				VFMADD231PS(r.a[row], w, v)
			}
			ADDQ(U32(elems*t.size), r.w[row])
		}
		for i, v := range y {
			VMOVUPS(v, at(yp, i*s.width*4))
		}
		ADDQ(U32(elems*4), yp)
	}
	Label("block")
	CMPQ(n, U32(lanes))
	JL(LabelRef("register"))
	for _, np := range r.next {
		prefetch(np, 0, lanes*t.size)
		ADDQ(U32(lanes*t.size), np)
	}
	step(lanes)
	SUBQ(U32(lanes), n)
	JMP(LabelRef("block"))

	Label("register")
	CMPQ(n, U32(s.width))
	JL(LabelRef("ones"))
	step(s.width)
	SUBQ(U32(s.width), n)
	JMP(LabelRef("register"))

	Label("ones")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	Label("one")
	y := XMM()
	VMOVSS(at(yp, 0), y)
	for row := range r.w {
		w := XMM()
		loadW1(t, at(r.w[row], 0), w)
		VFMADD231SS(r.a[row].AsX().(reg.VecVirtual), w, y)
		ADDQ(U32(t.size), r.w[row])
	}
	VMOVSS(y, at(yp, 0))
	ADDQ(U32(4), yp)
	DECQ(n)
	JNZ(LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// four is the arguments a, in every lane, w and next of an Axpy4: rows, all of the
// length of the first, and those to prefetch.
type four struct {
	a       [4]reg.VecVirtual
	bytes   reg.Register // of a row
	w, next [4]reg.GPVirtual
}

func (s isa) loadFour() four {
	r := four{bytes: GP64()}
	factors, rows, ahead := Load(Param("a"), GP64()), Load(Param("w"), GP64()), Load(Param("next"), GP64())
	MOVQ(at(rows, 8), r.bytes)
	for i := range r.w {
		r.a[i], r.w[i], r.next[i] = s.vec(), GP64(), GP64()
		VBROADCASTSS(at(factors, 4*i), r.a[i])
		MOVQ(at(rows, 24*i), r.w[i])
		MOVQ(at(ahead, 8*i), r.next[i])
	}
	return r
}
