package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A tile is the products of tileRows weight rows with tileTokens activation
// rows; run is the elements of a row that lie together in a panel.
const (
	tileRows   = 4
	tileTokens = 6
	run        = 16
	panelStep  = tileTokens * run * 4 // bytes of a panel from run to run
)

// tile writes Tile<t>. Quarter q of the work is the runs q, q+4, ..., which
// hold the lanes 16q to 16q+15 of each output's 64 partial sums: one lane for
// each element of a run. A register sums those lanes of one output, so that
// each register of weights serves all tokens, each of activations all rows,
// and the loop is bound by arithmetic.
func (s isa) tile(t dtype) {
	name := "Tile" + t.name
	TEXT(name+s.name, 0, fmt.Sprintf("func(out *[%d]float32, w *[%d][]%s, panel []float32)", tileRows*tileTokens, tileRows, t.elem))
	Pragma("noescape")
	Doc(name + s.name + " is Set." + name + " of package kernel.")
	p := loadRows(t)
	p.out, p.panel = Load(Param("out"), GP64()), Load(Param("panel").Base(), GP64())

	// 32 registers hold the sums of all rows, 16 those of half of them and of
	// half the lanes.
	const size = tileRows * tileTokens * run * 4
	sums := AllocLocal(2 * size) // [2, rows, tokens, 16 lanes] f32
	rows := tileRows
	if s.width == 8 {
		rows = tileRows / 2
	}
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = s.vecs(tileTokens)
	}
	// Quarters meet as reduce would have them: 0 and 2, 1 and 3, and then
	// these two.
	for _, q := range []int{0, 2, 1, 3} {
		for row := 0; row < tileRows; row += rows {
			for lane := 0; lane < run; lane += s.width {
				s.pass(p, acc, q, row, lane)
				for i := range acc {
					for j, a := range acc[i] {
						m := sums.Offset(q%2*size + ((row+i)*tileTokens+j)*run*4 + lane*4)
						if q >= 2 {
							VADDPS(m, a, a)
						}
						VMOVUPS(a, m)
					}
				}
			}
		}
	}
	for i := range tileRows * tileTokens {
		m, y, hi := sums.Offset(i*run*4), YMM(), YMM()
		VMOVUPS(m, y)
		VMOVUPS(m.Offset(32), hi)
		VADDPS(m.Offset(size), y, y)
		VADDPS(m.Offset(size+32), hi, hi)
		VADDPS(hi, y, y)
		VMOVSS(reduceY(y), at(p.out, 4*i))
	}
	p.rest()
	VZEROUPPER()
	RET()
}

// tilePointers are a tile's operands.
type tilePointers struct {
	t          dtype
	out, panel reg.Register
	n          reg.GPVirtual
	w          [tileRows]reg.GPVirtual
}

// loadRows loads parameter w: the addresses of rows, and the length of the
// first.
func loadRows(t dtype) tilePointers {
	const slice = 24 // bytes of a slice's header: address, length, capacity
	p := tilePointers{t: t, n: GP64()}
	w := Load(Param("w"), GP64())
	for i := range p.w {
		p.w[i] = GP64()
		MOVQ(at(w, slice*i), p.w[i])
	}
	MOVQ(at(w, 8), p.n)
	return p
}

// panelAt sets x to where the runs q, q+4, ... of a panel start, and steps
// to how many there are of n elements.
func panelAt(n reg.Register, q int, panel, x, steps reg.Register) {
	MOVQ(panel, x)
	for i := range q + 1 {
		MOVQ(n, steps)
		SHRQ(U8(4), steps)
		ADDQ(I8(3-i), steps)
		SHRQ(U8(2), steps)
		if i < q {
			skip := GP64()
			IMUL3Q(U32(panelStep), steps, skip)
			ADDQ(skip, x)
		}
	}
}

// pass sums the lanes from lane on of quarter q, of as many rows as acc has
// from row on.
func (s isa) pass(p tilePointers, acc [][]reg.VecVirtual, q, row, lane int) {
	for _, a := range acc {
		s.zero(a...)
	}
	steps, off, x := GP64(), GP64(), GP64()
	panelAt(p.n, q, p.panel, x, steps)
	MOVQ(U32((q*run+lane)*p.t.size), off)
	countdown(fmt.Sprintf("pass%d_%d_%d", q, row, lane), steps, func() {
		w := s.vecs(len(acc))
		for i := range w {
			s.loadW(p.t, Mem{Base: p.w[row+i], Index: off, Scale: 1}, w[i])
		}
		for j := range tileTokens {
			v := s.vec()
			VMOVUPS(at(x, j*run*4+lane*4), v)
			for i := range w {
				VFMADD231PS(v, w[i], acc[i][j])
			}
		}
		ADDQ(U32(lanes*p.t.size), off)
		ADDQ(U32(panelStep), x)
	})
}

// rest adds the last n%16 products to the outputs.
func (p tilePointers) rest() {
	n, off, x := GP64(), GP64(), GP64()
	MOVQ(p.n, n)
	MOVQ(n, off)
	ANDQ(I8(-run), off)
	SUBQ(off, n)
	IMUL3Q(U32(tileTokens*4), off, x)
	ADDQ(p.panel, x)
	SHLQ(U8(bits.TrailingZeros(uint(p.t.size))), off)
	countdown("one", n, func() {
		for i := range tileRows {
			w := XMM()
			loadW1(p.t, Mem{Base: p.w[i], Index: off, Scale: 1}, w)
			for j := range tileTokens {
				sum, m := XMM(), at(p.out, 4*(i*tileTokens+j))
				VMOVSS(m, sum)
				VFMADD231SS(at(x, 4*j), w, sum)
				VMOVSS(sum, m)
			}
		}
		ADDQ(U32(p.t.size), off)
		ADDQ(U32(tileTokens*4), x)
	})
}

// panel writes PanelRow: runs to their places, then single elements.
func (s isa) panel() {
	s.text("PanelRow", "func(panel []float32, j int, x []float32)", "is Set.PanelRow of package kernel.")
	base := Load(Param("panel").Base(), GP64())
	j := Load(Param("j"), GP64())
	x := Load(Param("x").Base(), GP64())
	n := Load(Param("x").Len(), GP64())
	first, dst, steps := GP64(), [lanes / run]reg.GPVirtual{}, GP64()
	MOVQ(j, first)
	SHLQ(U8(6), first)
	ADDQ(base, first)
	for q := range dst {
		dst[q] = GP64()
		panelAt(n, q, first, dst[q], steps)
	}
	move := func(q, from int) {
		for i := 0; i < run; i += s.width {
			v := s.vec()
			VMOVUPS(at(x, 4*(from+i)), v)
			VMOVUPS(v, at(dst[q], 4*i))
		}
	}
	MOVQ(n, steps)
	SHRQ(U8(6), steps)
	countdown("block", steps, func() {
		for q := range dst {
			move(q, q*run)
			ADDQ(U32(panelStep), dst[q])
		}
		ADDQ(U32(lanes*4), x)
	})
	left := GP64()
	MOVQ(n, left)
	ANDQ(U32(lanes-1), left)
	for q := range lanes/run - 1 {
		CMPQ(left, U32(run))
		JL(LabelRef("ones"))
		move(q, 0)
		ADDQ(U32(run*4), x)
		SUBQ(U32(run), left)
	}
	Label("ones")
	SUBQ(left, n)
	IMUL3Q(U32(tileTokens*4), n, n)
	ADDQ(base, n)
	LEAQ(Mem{Base: n, Index: j, Scale: 4}, n)
	countdown("one", left, func() {
		v := XMM()
		VMOVSS(at(x, 0), v)
		VMOVSS(v, at(n, 0))
		ADDQ(U32(4), x)
		ADDQ(U32(tileTokens*4), n)
	})
	VZEROUPPER()
	RET()
}

// outerCols is the elements of a row of outer and outerAt.
const outerCols = 128

// outer writes Outer: a register of h serves all columns, each of w all
// tokens. 32 registers hold the sums of half the columns, 16 those of an
// eighth.
func (s isa) outer() {
	s.text("Outer", "func(y []float32, stride int, h []float32, hStride int, w []float32)", "is Set.Outer of package kernel.")
	y := Load(Param("y").Base(), GP64())
	stride := Load(Param("stride"), GP64())
	SHLQ(U8(2), stride)
	hStride := Load(Param("hStride"), GP64())
	SHLQ(U8(2), hStride)
	w := Load(Param("w").Base(), GP64())
	regs := 4
	if s.width == 8 {
		regs = 2
	}
	acc := make([][]reg.VecVirtual, tileTokens)
	for j := range acc {
		acc[j] = s.vecs(regs)
	}
	for first := 0; first < outerCols; first += regs * s.width {
		// The sums of all tokens, moved to and fro.
		move := func(do func(m Mem, a reg.VecVirtual)) {
			row := GP64()
			LEAQ(at(y, 4*first), row)
			for j := range acc {
				for i, a := range acc[j] {
					do(at(row, 4*i*s.width), a)
				}
				ADDQ(stride, row)
			}
		}
		move(func(m Mem, a reg.VecVirtual) { VMOVUPS(m, a) })
		n, hp, wp := Load(Param("w").Len(), GP64()), Load(Param("h").Base(), GP64()), GP64()
		LEAQ(at(w, 4*first), wp)
		SHRQ(U8(7), n)
		countdown(label("pass", first), n, func() {
			row := s.vecs(regs)
			for i, v := range row {
				VMOVUPS(at(wp, 4*i*s.width), v)
			}
			for j := range acc {
				v := s.vec()
				VBROADCASTSS(at(hp, 4*j), v)
				for i, a := range acc[j] {
					VFMADD231PS(v, row[i], a)
				}
			}
			ADDQ(U32(4*outerCols), wp)
			ADDQ(hStride, hp)
		})
		move(func(m Mem, a reg.VecVirtual) { VMOVUPS(a, m) })
	}
	VZEROUPPER()
	RET()
}

// outerAt writes OuterAt: 8 registers, enough to hide an addition's latency,
// hold the sums of all columns or of half of them.
func (s isa) outerAt() {
	s.text("OuterAt", "func(y []float32, h []float32, rows []int32, w []float32)", "is Set.OuterAt of package kernel.")
	w := Load(Param("w").Base(), GP64())
	s.listed(func(int) {}, func(first int, row, h reg.Register, acc []reg.VecVirtual) {
		v := s.vec()
		SHLQ(U8(9), row)
		VBROADCASTSS(at(h, 0), v)
		for i, a := range acc {
			VFMADD231PS(Mem{Base: w, Index: row, Scale: 1, Disp: 4 * (first + i*s.width)}, v, a)
		}
	})
	RET()
}

// listed runs add for every one of parameter rows, while 8 registers hold the sums
// of all columns of y or of half of them. row is its number, at h its factor.
func (s isa) listed(begin func(first int), add func(first int, row, h reg.Register, acc []reg.VecVirtual)) {
	y := Load(Param("y").Base(), GP64())
	acc := s.vecs(8)
	for first := 0; first < outerCols; first += 8 * s.width {
		begin(first)
		for i, a := range acc {
			VMOVUPS(at(y, 4*(first+i*s.width)), a)
		}
		n, hp, rp := Load(Param("rows").Len(), GP64()), Load(Param("h").Base(), GP64()), Load(Param("rows").Base(), GP64())
		countdown(label("pass", first), n, func() {
			row := GP64()
			MOVLQSX(at(rp, 0), row)
			add(first, row, hp, acc)
			ADDQ(U32(4), hp)
			ADDQ(U32(4), rp)
		})
		for i, a := range acc {
			VMOVUPS(a, at(y, 4*(first+i*s.width)))
		}
	}
	VZEROUPPER()
}
