package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A rowKernel multiplies rows of one type with activations.
type rowKernel struct {
	// step is the bytes of a row that a turn of the loop takes, xStep those of the
	// activations, and sums the registers of partial sums.
	step, xStep, sums int
	// add adds the products of a step at w and at x to acc.
	add func(w, x reg.Register, acc []reg.VecVirtual)
	// row is the product of the n bytes at w and what is at x. next is where the
	// memory to ask for begins.
	row func(w, n, x, next reg.Register) reg.VecVirtual
}

// floats is the rowKernel of a type of floats: 64 partial sums.
func (s isa) floats(t dtype) rowKernel {
	return rowKernel{
		step: lanes * t.size, xStep: lanes * 4, sums: lanes / s.width,
		add: func(w, x reg.Register, acc []reg.VecVirtual) { s.fma(t, w, x, acc) },
		row: func(w, n, x, next reg.Register) reg.VecVirtual { return s.dotRow(t, w, n, x, next) },
	}
}

// dot writes Dot<name>. prepare loads the kernel's constants.
func (s isa) dot(name string, prepare func() rowKernel) {
	s.text("Dot"+name, "func(w, x []byte, next *byte) float32", "is Rows.Dot of package kernel.")
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	xp := Load(Param("x").Base(), GP64())
	sum := prepare().row(wp, n, xp, prefetchBase(wp))
	VZEROUPPER()
	Store(sum, ReturnIndex(0))
	RET()
}

// matVec writes MatVec<name>: dot for one row after another, or two after two.
func (s isa) matVec(name string, prepare func() rowKernel) {
	s.text("MatVec"+name, "func(y []float32, w []byte, rowBytes int, x []byte, ahead int)", "is Rows.MatVec of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	rows := Load(Param("y").Len(), GP64())
	row := Load(Param("w").Base(), GP64())
	rowBytes := Load(Param("rowBytes"), GP64())
	x := Load(Param("x").Base(), GP64())
	ahead := Load(Param("ahead"), GP64())
	k, wp, n, xp, np := prepare(), GP64(), GP64(), GP64(), GP64()
	if s.width == 16 {
		s.rowPairs(k, yp, rows, row, rowBytes, x, ahead)
	}
	countdown("row", rows, func() {
		MOVQ(row, wp)
		MOVQ(rowBytes, n)
		MOVQ(x, xp)
		LEAQ(Mem{Base: row, Index: ahead, Scale: 1}, np)
		VMOVSS(k.row(wp, n, xp, np), at(yp, 0))
		ADDQ(rowBytes, row)
		ADDQ(U8(4), yp)
	})
	VZEROUPPER()
	RET()
}

// rowPairs takes two rows at a time, one of each half of all rows, where rows are
// whole steps, and leaves what is left of them. By itself a processor fetches but
// some lines ahead of one reader, and what the program asks for besides occupies
// one of a dozen or so buffers for as long as memory takes to answer. Two readers
// have twice as many lines under way.
func (s isa) rowPairs(k rowKernel, yp, rows, row, rowBytes, x, ahead reg.Register) {
	half, y2, row2, n, xp := GP64(), GP64(), GP64(), GP64(), GP64()
	MOVQ(rowBytes, n)
	Label("whole")
	SUBQ(U32(k.step), n)
	JG(LabelRef("whole"))
	JL(LabelRef("single"))
	MOVQ(rows, half)
	SHRQ(U8(1), half)
	JZ(LabelRef("single"))
	LEAQ(Mem{Base: yp, Index: half, Scale: 4}, y2)
	MOVQ(half, row2)
	IMULQ(rowBytes, row2)
	ADDQ(row, row2)
	ANDQ(U8(1), rows)
	Label("pair")
	MOVQ(rowBytes, n)
	MOVQ(x, xp)
	acc := [2][]reg.VecVirtual{s.vecs(k.sums), s.vecs(k.sums)}
	s.zero(slices.Concat(acc[:]...)...)
	Label("pair_step")
	for i, w := range [2]reg.Register{row, row2} {
		prefetchAhead(w, ahead, k.step)
		k.add(w, xp, acc[i])
		ADDQ(U32(k.step), w)
	}
	ADDQ(U32(k.xStep), xp)
	SUBQ(U32(k.step), n)
	JNZ(LabelRef("pair_step"))
	VMOVSS(s.reduce(acc[0]), at(yp, 0))
	VMOVSS(s.reduce(acc[1]), at(y2, 0))
	ADDQ(U8(4), yp)
	ADDQ(U8(4), y2)
	DECQ(half)
	JNZ(LabelRef("pair"))
	MOVQ(row2, row)
	MOVQ(y2, yp)
	Label("single")
}

// dotRow is the product of the n bytes of elements at wp and the elements at xp.
func (s isa) dotRow(t dtype, wp, n, xp, np reg.Register) reg.VecVirtual {
	acc := s.vecs(lanes / s.width)
	s.zero(acc...)

	blocks := GP64()
	t.count(n)
	MOVQ(n, blocks)
	SHRQ(U8(6), blocks)
	countdown("block", blocks, func() {
		prefetch(np, 0, lanes*t.size)
		s.fma(t, wp, xp, acc)
		ADDQ(U32(lanes*t.size), wp)
		ADDQ(U32(lanes*t.size), np)
		ADDQ(U32(lanes*4), xp)
	})
	ANDQ(U32(lanes-1), n)
	per := 16 / s.width // registers per 16 elements
	for i := 0; i < 3; i++ {
		CMPQ(n, U32(16))
		JL(LabelRef("reduce"))
		s.fma(t, wp, xp, acc[i*per:(i+1)*per])
		ADDQ(U32(16*t.size), wp)
		ADDQ(U32(16*4), xp)
		SUBQ(U32(16), n)
	}

	Label("reduce")
	sum := s.reduce(acc)
	countdown("one", n, func() {
		w1 := XMM()
		loadW1(t, at(wp, 0), w1)
		VFMADD231SS(at(xp, 0), w1, sum)
		ADDQ(U32(t.size), wp)
		ADDQ(U32(4), xp)
	})
	return sum
}

// fma adds w*x for as many elements as acc has lanes.
func (s isa) fma(t dtype, wp, xp reg.Register, acc []reg.VecVirtual) {
	for i, a := range acc {
		w := s.vec()
		s.loadW(t, at(wp, i*s.width*t.size), w)
		pace(w, t.dotPace)
		VFMADD231PS(at(xp, i*s.width*4), w, a)
	}
}

// reduce sums 64 lanes by halving: lane l takes lane l+32, then l+16, and so
// on down to one. The answer is in lane 0 of the register it returns.
func (s isa) reduce(acc []reg.VecVirtual) reg.VecVirtual {
	for n := len(acc) / 2; n > 0; n /= 2 {
		for i := range n {
			VADDPS(acc[i+n], acc[i], acc[i])
		}
	}
	y := acc[0].AsY().(reg.VecVirtual)
	if s.width == 16 {
		hi := YMM()
		VEXTRACTF64X4(U8(1), acc[0], hi)
		VADDPS(hi, y, y)
	}
	return reduceY(y)
}

// reduceY is the end of reduce, from 8 lanes on.
func reduceY(y reg.VecVirtual) reg.VecVirtual {
	x, hi := y.AsX().(reg.VecVirtual), XMM()
	VEXTRACTF128(U8(1), y, hi)
	VADDPS(hi, x, x)
	VMOVHLPS(x, x, hi)
	VADDPS(hi, x, x)
	VMOVSHDUP(x, hi)
	VADDSS(hi, x, x)
	return x
}

// dot4 writes Dot4<t>. Each activation's sum takes the very steps of dot.
func (s isa) dot4(t dtype) {
	r, np := s.loadDot4(t.name)
	t.count(r.n)
	var sum [4]reg.VecVirtual
	if s.width == 16 {
		sum = s.dot4Registers(t, r, np)
	} else {
		sum = s.dot4Stack(t, r, np)
	}
	r.rest(t, sum)
	r.store(sum)
}

// fourRows writes RowsF32, which is Dot4 with rows and activations in each other's
// place.
func (s isa) fourRows() {
	s.text("RowsF32", fmt.Sprintf("func(out *[%d]float32, w *[%d][]float32, x []float32)", tileRows, tileRows),
		"is Set.RowsF32 of package kernel.")
	p := loadRows(f32)
	r := rows4{wp: Load(Param("x").Base(), GP64()), n: p.n, xp: GP64(), rows: p.w[:]}
	XORQ(r.xp, r.xp)
	sum := s.dot4Registers(f32, r, nil)
	r.rest(f32, sum)
	out := Load(Param("out"), GP64())
	for i, a := range sum {
		VMOVSS(a, at(out, 4*i))
	}
	VZEROUPPER()
	RET()
}

// rows4 is one weight row against four activation rows: those that lie stride
// bytes apart from xp on, or those of which xp is how far into each.
type rows4 struct {
	wp, n, xp, stride reg.Register
	stride3           reg.GPVirtual // 3*stride
	rows              []reg.GPVirtual
}

// loadDot4 opens Dot4<name> and loads its arguments; n is bytes.
func (s isa) loadDot4(name string) (r rows4, next reg.Register) {
	s.text("Dot4"+name, "func(w, x []byte, stride int, next *byte) [4]float32", "is Rows.Dot4 of package kernel.")
	r = strided(Load(Param("x").Base(), GP64()), Load(Param("stride"), GP64()))
	r.wp, r.n = Load(Param("w").Base(), GP64()), Load(Param("w").Len(), GP64())
	return r, prefetchBase(r.wp)
}

// strided is four rows from xp on.
func strided(xp, stride reg.Register) rows4 {
	r := rows4{xp: xp, stride: stride, stride3: GP64()}
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r.stride3)
	return r
}

// x is the memory disp bytes into activation row i.
func (r rows4) x(i, disp int) Mem {
	m := Mem{Base: r.xp, Disp: disp, Scale: 1}
	switch {
	case r.rows != nil:
		m.Base, m.Index = r.rows[i], r.xp
	case i == 0:
		m.Scale = 0
	case i == 1:
		m.Index = r.stride
	case i == 2:
		m.Index, m.Scale = r.stride, 2
	case i == 3:
		m.Index = r.stride3
	}
	return m
}

// rest adds the last n%16 products to sum.
func (r rows4) rest(t dtype, sum [4]reg.VecVirtual) {
	ANDQ(U32(15), r.n)
	countdown("one", r.n, func() {
		w1 := XMM()
		loadW1(t, at(r.wp, 0), w1)
		for i, a := range sum {
			VFMADD231SS(r.x(i, 0), w1, a)
		}
		ADDQ(U32(t.size), r.wp)
		ADDQ(U32(4), r.xp)
	})
}

// store returns sum.
func (r rows4) store(sum [4]reg.VecVirtual) {
	VZEROUPPER()
	for i, a := range sum {
		Store(a, ReturnIndex(0).Index(i))
	}
	RET()
}

// dot4Registers keeps all 4*64 partial sums in 16 ZMM registers. It leaves
// the pointers at the last n%16 elements.
func (s isa) dot4Registers(t dtype, r rows4, np reg.Register) (sum [4]reg.VecVirtual) {
	var acc [4][]reg.VecVirtual
	for i := range acc {
		acc[i] = s.vecs(4)
		s.zero(acc[i]...)
	}
	step := func(j int) {
		w := s.vec()
		s.loadW(t, at(r.wp, j*16*t.size), w)
		for i := range acc {
			VFMADD231PS(r.x(i, j*16*4), w, acc[i][j])
		}
	}
	blocks, rest := GP64(), GP64()
	MOVQ(r.n, blocks)
	MOVQ(r.n, rest)
	ANDQ(U32(lanes-16), rest)
	SHRQ(U8(6), blocks)
	countdown("block", blocks, func() {
		if np != nil {
			prefetch(np, 0, lanes*t.size)
			ADDQ(U32(lanes*t.size), np)
		}
		for j := range 4 {
			step(j)
		}
		ADDQ(U32(lanes*t.size), r.wp)
		ADDQ(U32(lanes*4), r.xp)
	})
	for j := range 3 {
		CMPQ(rest, U32(j*16))
		JE(LabelRef("reduce"))
		step(j)
	}
	Label("reduce")
	LEAQ(Mem{Base: r.xp, Index: rest, Scale: 4}, r.xp)
	LEAQ(Mem{Base: r.wp, Index: rest, Scale: uint8(t.size)}, r.wp)
	for i := range acc {
		sum[i] = s.reduce(acc[i])
	}
	return sum
}

// dot4Stack serves 16 registers, which do not hold 4*64 partial sums. Pass q
// sums lanes 16q to 16q+15 of all four rows. The passes read disjoint quarters
// of the weights, which still arrive once. The first two leave their sums on
// the stack, where the last two meet them as reduce would. It leaves the
// pointers at the last n%16 elements.
func (s isa) dot4Stack(t dtype, r rows4, np reg.Register) (sum [4]reg.VecVirtual) {
	stack := AllocLocal(2 * 4 * 16 * 4) // [2, 4 rows, 16 lanes] f32
	runs := GP64()
	MOVQ(r.n, runs)
	SHRQ(U8(4), runs)
	ADDQ(U8(3), runs)

	var acc [4][]reg.VecVirtual
	each := func(half int, do func(m Mem, a reg.VecVirtual)) {
		for i := range acc {
			for j := range acc[i] {
				do(stack.Offset(half*256+i*64+j*32), acc[i][j])
			}
		}
	}
	add := func(m Mem, a reg.VecVirtual) { VADDPS(m, a, a) }
	store := func(m Mem, a reg.VecVirtual) { VMOVUPS(a, m) }
	for q := range 4 {
		acc = s.quarter(t, r, np, runs, q)
		if q >= 2 {
			each(q-2, add)
		}
		if q < 3 {
			each(q%2, store)
		}
	}
	each(0, add)

	MOVQ(r.n, runs) // from here on: elements in whole runs
	ANDQ(I8(-16), runs)
	LEAQ(Mem{Base: r.xp, Index: runs, Scale: 4}, r.xp)
	LEAQ(Mem{Base: r.wp, Index: runs, Scale: uint8(t.size)}, r.wp)
	for i := range sum {
		VADDPS(acc[i][1], acc[i][0], acc[i][0])
		sum[i] = reduceY(acc[i][0])
	}
	return sum
}

// quarter is pass q of dot4Stack. runs is the number of whole runs of 16
// elements plus 3, so that (runs-q)/4 of them fall to pass q.
func (s isa) quarter(t dtype, r rows4, np, runs reg.Register, q int) (acc [4][]reg.VecVirtual) {
	for i := range acc {
		acc[i] = s.vecs(2)
		s.zero(acc[i]...)
	}
	row, steps, pre := r, GP64(), GP64()
	row.wp, row.xp = GP64(), GP64()
	LEAQ(at(runs, -q), steps)
	LEAQ(at(r.wp, q*16*t.size), row.wp)
	LEAQ(at(r.xp, q*16*4), row.xp)
	LEAQ(at(np, q*16*t.size), pre)
	SHRQ(U8(2), steps)
	countdown(label("pass", q), steps, func() {
		prefetch(pre, 0, 64)
		for j := range 2 {
			w := s.vec()
			s.loadW(t, at(row.wp, j*8*t.size), w)
			for i := range acc {
				VFMADD231PS(row.x(i, j*8*4), w, acc[i][j])
			}
		}
		ADDQ(U32(lanes*t.size), row.wp)
		ADDQ(U32(lanes*t.size), pre)
		ADDQ(U32(lanes*4), row.xp)
	})
	return acc
}
