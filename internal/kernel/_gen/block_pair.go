package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairOfRows writes Pair<b>: Rows.MatVec2 says what it is for. What rows have beyond
// whole chunks is taken with what follows it in memory, which is masked; of at most
// half a chunk that of both rows at once.
func (s isa) pairOfRows(b *block) {
	s.text("Pair"+b.name, "func(y, y2 *float32, w, w2 *byte, rowBytes, rows int, x *byte, ahead int, rest uint16)",
		"sets y and y2 to the products of rows of two matrices with x. It asks for what", "lies ahead bytes further than what it reads. rest is the mask of the blocks that rows", "have beyond whole chunks, twice if they are no more than half of one. As many bytes", "are read as of a whole chunk or of half of one.")
	y := [2]reg.Register{Load(Param("y"), GP64()), Load(Param("y2"), GP64())}
	rows := [2]reg.Register{Load(Param("w"), GP64()), Load(Param("w2"), GP64())}
	rowBytes, left := Load(Param("rowBytes"), GP64()), Load(Param("rows"), GP64())
	x, ahead := Load(Param("x"), GP64()), Load(Param("ahead"), GP64())
	n, xp, high := GP64(), GP64(), GP64()
	c, size := s.blockConsts(b), chunkBlocks*32/b.elems*b.bytes
	k, mask := K(), GP32()
	Load(Param("rest"), mask.As16())
	KMOVW(mask, k)
	counted := c
	counted.counted = &k
	acc := [2]reg.VecVirtual{s.vec(), s.vec()}
	chunk := func(c blockConsts) {
		for i, w := range rows {
			prefetchAhead(w, ahead, size)
			s.addChunk(b, c, w, func(_, disp int) Op { return at(xp, disp) }, [][]reg.VecVirtual{{acc[i]}})
		}
	}
	Label("row")
	s.zero(acc[:]...)
	MOVQ(rowBytes, n)
	MOVQ(x, xp)
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
	s.addTwoHalves(b, counted, rows[0], high, xp, acc)
	JMP(LabelRef("next"))
	Label("more")
	chunk(counted)
	Label("next")
	for _, w := range rows {
		ADDQ(n, w)
	}
	Label("reduce")
	for i, a := range acc {
		VMOVSS(s.reduce([]reg.VecVirtual{a}), at(y[i], 0))
		ADDQ(U8(4), y[i])
	}
	DECQ(left)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// addTwoHalves is addChunk for the first halves of two chunks, one at wp and one half a
// chunk after high: they fill one chunk's registers.
func (s isa) addTwoHalves(b *block, c blockConsts, wp, high, xp reg.Register, acc [2]reg.VecVirtual) {
	x := func(_, disp int) Op {
		v := s.vec()
		VBROADCASTF64X4(at(xp, disp), v)
		return v
	}
	both, second := s.vec(), YMM()
	VINSERTF64X4(U8(1), acc[1].AsY(), acc[0], both)
	s.addPart(b, c, part{isa: s, wp: wp, high: high}, x, [][]reg.VecVirtual{{both}})
	VEXTRACTF64X4(U8(1), both, second)
	VINSERTF64X4(U8(0), both.AsY(), acc[0], acc[0])
	VINSERTF64X4(U8(0), second, acc[1], acc[1])
}
