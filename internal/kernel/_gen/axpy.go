package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy writes Axpy<t> or Axpy4<t>: 64 elements of y are in registers while rows
// are added, then as many as a register holds, then one. One row at a time reads
// and writes twice y's bytes for each of its own, or four times.
func (s isa) axpy(t dtype, rows int) {
	yp, r := s.axpyArguments(t.name, rows)
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
				if rows == 1 {
					pace(w, t.axpyPace)
				}
				VFMADD231PS(r.a[row], w, v)
			}
			ADDQ(U32(elems*t.size), r.w[row])
		}
		for i, v := range y {
			VMOVUPS(v, at(yp, i*s.width*4))
		}
		ADDQ(U32(elems*4), yp)
		SUBQ(U32(elems), n)
	}
	Label("block")
	CMPQ(n, U32(lanes))
	JL(LabelRef("register"))
	for _, np := range r.next {
		prefetch(np, 0, lanes*t.size)
		ADDQ(U32(lanes*t.size), np)
	}
	step(lanes)
	JMP(LabelRef("block"))

	Label("register")
	CMPQ(n, U32(s.width))
	JL(LabelRef("ones"))
	step(s.width)
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

// addends is the arguments of an Axpy or Axpy4: factors in every lane, rows, all
// of the length of the first, and those to prefetch.
type addends struct {
	a       []reg.VecVirtual
	bytes   reg.Register // of a row
	w, next []reg.GPVirtual
}

// axpyArguments opens Axpy<name> or Axpy4<name> and loads its arguments.
func (s isa) axpyArguments(name string, rows int) (y reg.Register, r addends) {
	if rows == 1 {
		s.text("Axpy"+name, "func(y []float32, a float32, w []byte, next *byte)", "is Rows.Axpy of package kernel.")
		y, r.bytes = Load(Param("y").Base(), GP64()), Load(Param("w").Len(), GP64())
		w := Load(Param("w").Base(), GP64()).(reg.GPVirtual)
		r.a, r.w, r.next = s.vecs(1), []reg.GPVirtual{w}, []reg.GPVirtual{prefetchBase(w)}
		VBROADCASTSS(paramAddr("a"), r.a[0])
		return y, r
	}
	s.text("Axpy4"+name, "func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)", "is Rows.Axpy4 of package kernel.")
	y, r.bytes = Load(Param("y").Base(), GP64()), GP64()
	factors, slices, ahead := Load(Param("a"), GP64()), Load(Param("w"), GP64()), Load(Param("next"), GP64())
	MOVQ(at(slices, 8), r.bytes)
	for i := range rows {
		a, w, next := s.vec(), GP64(), GP64()
		VBROADCASTSS(at(factors, 4*i), a)
		MOVQ(at(slices, 24*i), w)
		MOVQ(at(ahead, 8*i), next)
		r.a, r.w, r.next = append(r.a, a), append(r.w, w), append(r.next, next)
	}
	return y, r
}
