package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// load writes Load: one addition per loaded register, the least work that
// keeps a load alive.
func (s isa) load() {
	s.text("Load", "func(b []byte) uint64", "is Set.Load of package kernel.")
	p := Load(Param("b").Base(), GP64())
	n := Load(Param("b").Len(), GP64())
	const block = 512 // bytes
	acc := s.vecs(8)
	s.zero(acc...)
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(9), blocks)
	JZ(LabelRef("rest"))
	Label("block")
	for o := 0; o < block; o += s.width * 4 {
		a := acc[o/(s.width*4)%len(acc)]
		VPADDQ(at(p, o), a, a)
	}
	ADDQ(U32(block), p)
	DECQ(blocks)
	JNZ(LabelRef("block"))

	Label("rest")
	for i := 1; i < len(acc); i++ {
		VPADDQ(acc[i], acc[0], acc[0])
	}
	y := acc[0].AsY().(reg.VecVirtual)
	if s.width == 16 {
		hi := YMM()
		VEXTRACTI64X4(U8(1), acc[0], hi)
		VPADDQ(hi, y, y)
	}
	x, hi := y.AsX().(reg.VecVirtual), XMM()
	VEXTRACTI128(U8(1), y, hi)
	VPADDQ(hi, x, x)
	VPSRLDQ(U8(8), x, hi)
	VPADDQ(hi, x, x)
	sum := GP64()
	VMOVQ(x, sum)
	VZEROUPPER()

	ANDQ(U32(block-1), n)
	Label("word")
	CMPQ(n, U32(8))
	JL(LabelRef("bytes"))
	ADDQ(at(p, 0), sum)
	ADDQ(U32(8), p)
	SUBQ(U32(8), n)
	JMP(LabelRef("word"))

	// The last n < 8 bytes are the low bytes of a word, so the last of them is
	// its highest: build it from the end.
	Label("bytes")
	word, b := GP64(), GP64()
	XORQ(word, word)
	Label("byte")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	MOVBQZX(Mem{Base: p, Index: n, Scale: 1, Disp: -1}, b)
	SHLQ(U8(8), word)
	ORQ(b, word)
	DECQ(n)
	JMP(LabelRef("byte"))
	Label("done")
	ADDQ(word, sum)
	Store(sum, ReturnIndex(0))
	RET()
}
