package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// loadPace is what keeps loads behind the prefetches (see pace).
const loadPace = 11

// load writes Load: one addition per loaded register, the least work that keeps a
// load alive.
func (s isa) load() {
	s.text("Load", "func(b []byte, next *byte) uint64", "is Set.Load of package kernel.")
	p := Load(Param("b").Base(), GP64())
	n := Load(Param("b").Len(), GP64())
	np := prefetchBase(p)
	const block = 512 // bytes
	acc := s.vecs(8)
	s.zero(acc...)
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(9), blocks)
	countdown("block", blocks, func() {
		for o := 0; o < block; o += 32 {
			if o%64 == 0 {
				prefetch(np, o, 64)
			}
			a := acc[o/32%len(acc)]
			VPADDQ(at(p, o), a, a)
			pace(a, loadPace)
		}
		ADDQ(U32(block), np)
		ADDQ(U32(block), p)
	})
	for i := 1; i < len(acc); i++ {
		VPADDQ(acc[i], acc[0], acc[0])
	}
	x, hi := acc[0].AsX().(reg.VecVirtual), XMM()
	VEXTRACTI128(U8(1), acc[0], hi)
	VPADDQ(hi, x, x)
	VPSRLDQ(U8(8), x, hi)
	VPADDQ(hi, x, x)
	sum := GP64()
	VMOVQ(x, sum)
	VZEROUPPER()

	ANDQ(U32(block-1), n)
	end := GP64()
	LEAQ(Mem{Base: np, Index: n, Scale: 1}, end)
	Label("line")
	CMPQ(np, end)
	JGE(LabelRef("word"))
	prefetch(np, 0, 64)
	ADDQ(U32(64), np)
	JMP(LabelRef("line"))
	Label("word")
	elementLoops(n, []int{8}, []ptr{{p, 1}}, func(int) { ADDQ(at(p, 0), sum) })

	// The last n < 8 bytes are the low bytes of a word, so the last of them is
	// its highest: build it from the end.
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
