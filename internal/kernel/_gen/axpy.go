package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy writes Axpy<t>: blocks of 64, then registers, then single elements.
// Every element is one FMA, so the order does not matter.
func (s isa) axpy(t dtype) {
	s.text("Axpy"+t.name, fmt.Sprintf("func(y []float32, a float32, w []%s, next *%s)", t.elem, t.elem),
		"is Set.Axpy"+t.name+" of package kernel.")
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
