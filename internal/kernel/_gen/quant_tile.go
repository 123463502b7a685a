package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A tile of quantised weights is fewer rows, which take more to unpack, and
// more tokens.
const (
	quantRows   = 2
	quantTokens = 8
	laneBytes   = 16 * 4 // bytes of the lanes of an output
)

// tileQuant writes Tile<q> for AVX-512: dotQuant for all rows and tokens of a
// tile at once. A record of activations is loaded once for all rows.
func (s isa) tileQuant(q quant) {
	name := "Tile" + q.name
	TEXT(name+s.name, 0, fmt.Sprintf("func(out *[%d]float32, w *[%d][]byte, x []byte, stride int)", quantRows*quantTokens, quantRows))
	Pragma("noescape")
	Doc(name + s.name + " is Set." + name + " of package kernel.")
	w := Load(Param("w"), GP64())
	var wp [quantRows]reg.GPVirtual
	for i := range wp {
		wp[i] = GP64()
		MOVQ(at(w, 24*i), wp[i])
	}
	n := GP64()
	MOVQ(at(w, 8), n)
	// Two times four tokens.
	r := rows4{xp: Load(Param("x").Base(), GP64()), stride: Load(Param("stride"), GP64()), stride3: GP64()}
	LEAQ(Mem{Base: r.stride, Index: r.stride, Scale: 2}, r.stride3)
	later := r
	later.xp = GP64()
	LEAQ(Mem{Base: r.xp, Index: r.stride, Scale: 4}, later.xp)
	c := s.quantConsts(q)
	var acc [quantRows][]reg.VecVirtual
	for i := range acc {
		acc[i] = s.vecs(quantTokens)
		s.zero(acc[i]...)
	}
	group := 4 * q.bytes
	Label("group")
	CMPQ(n, U32(group))
	JL(LabelRef("reduce"))
	var rows [quantRows]weights
	for i := range rows {
		rows[i] = s.load512(q, c, wp[i])
		ADDQ(U32(group), wp[i])
	}
	for j := range quantTokens {
		x := func(disp int) Mem { return r.x(j, disp) }
		if j >= 4 {
			x = func(disp int) Mem { return later.x(j-4, disp) }
		}
		for i := range rows {
			s.addQuant(q, c, rows[i], x, 0, acc[i][j])
		}
	}
	ADDQ(U32(recordBytes), r.xp)
	ADDQ(U32(recordBytes), later.xp)
	SUBQ(U32(group), n)
	JMP(LabelRef("group"))
	Label("reduce")
	// By way of memory: the instructions that reduce take 16 of the registers.
	sums := AllocLocal(quantRows * quantTokens * laneBytes)
	for i := range acc {
		for j, a := range acc[i] {
			VMOVUPS(a, sums.Offset((i*quantTokens+j)*laneBytes))
		}
	}
	out := Load(Param("out"), GP64())
	for i := range quantRows * quantTokens {
		y := YMM()
		VMOVUPS(sums.Offset(i*laneBytes), y)
		VADDPS(sums.Offset(i*laneBytes+32), y, y)
		VMOVSS(reduceY(y), at(out, 4*i))
	}
	VZEROUPPER()
	RET()
}
