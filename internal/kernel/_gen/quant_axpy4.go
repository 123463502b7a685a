package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpy4Quant writes Axpy4<q>: the very steps of axpyQuant for four rows, while a
// block of y is in registers. One row at a time is bound by reading and writing
// y, which has many times the row's bytes. With near, what comes next is asked
// for into the level-1 cache: of rows that are read in order, 4 to 8 % more on a
// Xeon and nothing on an EPYC (Zen 4), which loses a sixth where they lie apart.
func (s isa) axpy4Quant(q quant, near bool) {
	name := "Axpy4" + q.name
	if near {
		name += "Near"
	}
	s.text(name, "func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)", "is Set.Axpy4"+q.name+" of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	rows := s.loadFour()
	n, wp, np, a := rows.bytes, rows.w, rows.next, rows.a
	codes, y := s.codes(q), s.vecs(32/s.width)
	// block adds a block of each row: add adds some of its codes, times what
	// scale is for.
	block := func(scale func(r int), add func(r int, v, y reg.VecVirtual)) {
		for i, v := range y {
			VMOVUPS(at(yp, i*s.width*4), v)
		}
		for r := range wp {
			scale(r)
			for i, v := range codes(wp[r]) {
				add(r, v, y[i])
			}
			ADDQ(U32(q.bytes), wp[r])
		}
		for i, v := range y {
			VMOVUPS(v, at(yp, i*s.width*4))
		}
		ADDQ(U32(32*4), yp)
	}
	if s.width == 16 && q == q4 { // Q8, with twice the bytes, gained nothing
		s.axpy4Groups(near, wp, np, a, n, block)
	}
	Label("block")
	CMPQ(n, U32(q.bytes))
	JL(LabelRef("done"))
	var scale reg.VecVirtual
	block(func(r int) {
		prefetch(np[r], 0, q.bytes)
		ADDQ(U32(q.bytes), np[r])
		scale = s.vec()
		half := scale.AsX().(reg.VecVirtual) // the register that widens to scale
		if s.width == 16 {
			half = scale.AsY().(reg.VecVirtual)
		}
		VPBROADCASTW(at(wp[r], 0), half)
		VCVTPH2PS(half, scale)
		VMULPS(a[r], scale, scale)
	}, func(r int, v, y reg.VecVirtual) { VFMADD231PS(scale, v, y) })
	SUBQ(U32(q.bytes), n)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// axpy4Groups adds while there are eight blocks of a row of Q4. Their scales,
// which lie a block apart, are taken together and converted at once; by block
// that was half of the instructions that only one port takes.
func (s isa) axpy4Groups(near bool, wp, np [4]reg.GPVirtual, a [4]reg.VecVirtual, n reg.Register, block func(scale func(r int), add func(r int, v, y reg.VecVirtual))) {
	const blocks = 8
	// The scales are words 0, 9, ... 63 of the first 128 bytes.
	order, quad, high := ZMM(), GP64(), XMM()
	MOVQ(U64(27<<48|18<<32|9<<16), quad)
	VMOVQ(quad, order.AsX())
	MOVQ(U64(63<<48|54<<32|45<<16|36), quad)
	VMOVQ(quad, high)
	VPUNPCKLQDQ(high, order.AsX(), order.AsX())
	scales := AllocLocal(len(wp) * blocks * 4)
	sp, left := GP64(), GP64()
	Label("group")
	CMPQ(n, U32(blocks*q4.bytes))
	JL(LabelRef("block"))
	for r := range wp {
		for o := 0; o < blocks*q4.bytes; o += 64 {
			if near {
				PREFETCHT0(at(np[r], o))
			} else {
				PREFETCHT1(at(np[r], o))
			}
		}
		ADDQ(U32(blocks*q4.bytes), np[r])
		v := ZMM()
		VMOVDQU16(at(wp[r], 0), v)
		VPERMT2W(at(wp[r], 64), order, v)
		VCVTPH2PS(v.AsX(), v.AsY())
		VMULPS(a[r].AsY(), v.AsY(), v.AsY())
		VMOVUPS(v.AsY(), scales.Offset(4*blocks*r))
	}
	LEAQ(scales, sp)
	MOVQ(U32(blocks), left)
	Label("of_group")
	var scale reg.VecVirtual
	block(func(r int) {
		scale = s.vec()
		VBROADCASTSS(at(sp, 4*blocks*r), scale)
	}, func(_ int, v, y reg.VecVirtual) { VFMADD231PS(scale, v, y) })
	ADDQ(U8(4), sp)
	DECQ(left)
	JNZ(LabelRef("of_group"))
	SUBQ(U32(blocks*q4.bytes), n)
	JMP(LabelRef("group"))
}
