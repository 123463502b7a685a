package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// axpy writes Axpy<t> or Axpy4<t>: 64 elements of y are in registers while rows
// are added, then as many as a register holds, then one. One row at a time reads
// and writes twice y's bytes for each of its own, or four times.
func (s isa) axpy(t dtype, rows int) {
	yp, r := s.axpyArguments(t.name, rows)
	n := r.bytes // and then elements
	t.count(n)

	ptrs := []ptr{{yp, 4}}
	for _, w := range r.w {
		ptrs = append(ptrs, ptr{w, t.size})
	}
	elementLoops(n, []int{lanes, s.width}, ptrs, func(elems int) {
		y := s.vecs(elems / s.width)
		for i, v := range y {
			VMOVUPS(at(yp, i*s.width*4), v)
		}
		for row, wp := range r.w {
			if elems == lanes {
				r.prefetch(row, lanes*t.size)
			}
			for i, v := range y {
				w := s.vec()
				s.loadW(t, at(wp, i*s.width*t.size), w)
				if rows == 1 {
					pace(w, t.axpyPace)
				}
				VFMADD231PS(r.a[row], w, v)
			}
		}
		for i, v := range y {
			VMOVUPS(v, at(yp, i*s.width*4))
		}
	})
	elementLoops(n, []int{1}, ptrs, func(int) {
		y, w := XMM(), XMM()
		VMOVSS(at(yp, 0), y)
		for row, wp := range r.w {
			loadW1(t, at(wp, 0), w)
			VFMADD231SS(r.a[row].AsX().(reg.VecVirtual), w, y)
		}
		VMOVSS(y, at(yp, 0))
	})
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
