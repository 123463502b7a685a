package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// axpyQuant writes Axpy<q> or Axpy4<q>: one FMA an element and row, of its code
// and the block's scale times a, while a block of y is in registers. One row at a
// time is bound by reading and writing y, which has many times the row's bytes.
func (s isa) axpyQuant(q quant, rows int) {
	yp, r := s.axpyArguments(q.name, rows)
	codes := s.codes(q)
	elementLoops(r.bytes, []int{q.bytes}, nil, func(int) {
		s.addBlock(q, yp, r, codes, func(row int) reg.VecVirtual { return s.blockScale(q, r, row) })
	})
	VZEROUPPER()
	RET()
}

// addBlock adds a block of each row, times what scale is for it, to y.
func (s isa) addBlock(q quant, yp reg.Register, r addends, codes func(wp reg.Register) []reg.VecVirtual, scale func(row int) reg.VecVirtual) {
	y := s.vecs(32 / s.width)
	for i, v := range y {
		VMOVUPS(at(yp, i*s.width*4), v)
	}
	for row, wp := range r.w {
		d := scale(row)
		for i, v := range codes(wp) {
			VFMADD231PS(d, v, y[i])
		}
		ADDQ(U32(q.bytes), wp)
	}
	for i, v := range y {
		VMOVUPS(v, at(yp, i*s.width*4))
	}
	ADDQ(U32(32*4), yp)
}

// prefetch asks for the next n bytes after a row.
func (r addends) prefetch(row, n int) {
	prefetch(r.next[row], 0, n)
	ADDQ(U32(n), r.next[row])
}

// blockScale is the scale of the block of a row times its factor. It asks for as
// much of what follows.
func (s isa) blockScale(q quant, r addends, row int) reg.VecVirtual {
	r.prefetch(row, q.bytes)
	scale := s.vec()
	s.broadcastF16(at(r.w[row], 0), scale)
	VMULPS(r.a[row], scale, scale)
	return scale
}

// broadcastF16 fills v with the float16 at m.
func (s isa) broadcastF16(m Mem, v reg.VecVirtual) {
	words := v.AsX() // which widen to v
	if s.width == 16 {
		words = v.AsY()
	}
	VPBROADCASTW(m, words)
	VCVTPH2PS(words, v)
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
