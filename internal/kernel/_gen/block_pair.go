package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairOfRows writes Pair<b>: Rows.MatVec2 says what it is for. What rows have beyond
// whole chunks is taken with what follows it in memory, which is masked; of at most
// half a chunk that of both rows at once.
//
// With two tokens it writes Fine<b>: Rows.Fine says what that is for.
func (s isa) pairOfRows(b *block, tokens int) {
	name, params, what := "Pair", "", "to the products of rows of two matrices with x."
	if tokens == 2 {
		name, params, what = "Fine", "stride, ", "to the sums of the products of rows of two matrices with x and what is stride bytes further."
	}
	s.text(name+b.name, "func(y, y2 *float32, w, w2 *byte, rowBytes, rows int, x *byte, "+params+"ahead int, rest uint16)",
		"sets y and y2 "+what, "It asks for what lies ahead bytes further than what it reads. rest is the mask of the", "blocks that rows have beyond whole chunks, twice if they are no more than half of one.", "As many bytes are read as of a whole chunk or of half of one.")
	y := [2]reg.Register{Load(Param("y"), GP64()), Load(Param("y2"), GP64())}
	rows := [2]reg.Register{Load(Param("w"), GP64()), Load(Param("w2"), GP64())}
	rowBytes, left := Load(Param("rowBytes"), GP64()), Load(Param("rows"), GP64())
	first, ahead := Load(Param("x"), GP64()), Load(Param("ahead"), GP64())
	n, xp, high := GP64(), GP64(), GP64()
	x := func(_, disp int) Mem { return at(xp, disp) }
	if tokens == 2 {
		x = rows4{xp: xp, stride: Load(Param("stride"), GP64())}.x
	}
	c, size := s.blockConsts(b), chunkBlocks*32/b.elems*b.bytes
	k, mask := K(), GP32()
	Load(Param("rest"), mask.As16())
	KMOVW(mask, k)
	counted := c
	counted.counted = &k
	acc := [2][]reg.VecVirtual{s.vecs(tokens), s.vecs(tokens)}
	chunk := func(c blockConsts) {
		for i, w := range rows {
			prefetchAhead(w, ahead, size)
			parts := make([][]reg.VecVirtual, tokens)
			for t := range parts {
				parts[t] = acc[i][t : t+1]
			}
			s.addChunk(b, c, w, func(t, disp int) Op { return x(t, disp) }, parts)
		}
	}
	Label("row")
	s.zero(acc[0]...)
	s.zero(acc[1]...)
	MOVQ(rowBytes, n)
	MOVQ(first, xp)
	SUBQ(U32(size), n)
	JL(LabelRef("rest"))
	Label("chunk")
	chunk(c)
	for _, w := range rows {
		ADDQ(U32(size), w)
	}
	ADDQ(U32(roundBytes), xp)
	SUBQ(U32(size), n)
	JGE(LabelRef("chunk"))
	Label("rest")
	ADDQ(U32(size), n)
	JZ(LabelRef("reduce"))
	CMPQ(n, U32(size/2))
	JG(LabelRef("more"))
	for _, w := range rows {
		prefetchAhead(w, ahead, size/2)
	}
	LEAQ(at(rows[1], -size/2), high)
	s.addTwoHalves(b, counted, rows[0], high, x, acc)
	JMP(LabelRef("next"))
	Label("more")
	chunk(counted)
	Label("next")
	for _, w := range rows {
		ADDQ(n, w)
	}
	Label("reduce")
	for i, a := range acc {
		sum := s.reduce(a[:1])
		if tokens == 2 {
			VADDSS(s.reduce(a[1:]), sum, sum)
		}
		VMOVSS(sum, at(y[i], 0))
		ADDQ(U8(4), y[i])
	}
	DECQ(left)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// addTwoHalves is addChunk for the first halves of two chunks, one at wp and one half a
// chunk after high: they fill one chunk's registers. acc is [row][token].
func (s isa) addTwoHalves(b *block, c blockConsts, wp, high reg.Register, x func(token, disp int) Mem, acc [2][]reg.VecVirtual) {
	twice := func(t, disp int) Op {
		v := s.vec()
		VBROADCASTF64X4(x(t, disp), v)
		return v
	}
	both := make([][]reg.VecVirtual, len(acc[0]))
	for t := range both {
		both[t] = s.vecs(1)
		VINSERTF64X4(U8(1), acc[1][t].AsY(), acc[0][t], both[t][0])
	}
	s.addPart(b, c, part{isa: s, wp: wp, high: high}, twice, both)
	for t, v := range both {
		second := YMM()
		VEXTRACTF64X4(U8(1), v[0], second)
		VINSERTF64X4(U8(0), v[0].AsY(), acc[0][t], acc[0][t])
		VINSERTF64X4(U8(0), second, acc[1][t], acc[1][t])
	}
}
