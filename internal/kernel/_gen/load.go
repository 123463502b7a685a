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
	s.loadBody(nil)
}

// loadNext writes LoadNext: Load that asks for the cache lines of next.
func (s isa) loadNext() {
	s.text("LoadNext", "func(b []byte, next *byte) uint64", "is Set.LoadNext of package kernel.")
	s.loadBody(prefetchBase)
}

// loadPace is what keeps loads behind the prefetches (see pace).
const loadPace = 11

// loadBody is Load, asking for what lies at next(b) if that is not nil.
func (s isa) loadBody(next func(b reg.Register) reg.GPVirtual) {
	p := Load(Param("b").Base(), GP64())
	n := Load(Param("b").Len(), GP64())
	var np reg.GPVirtual
	if next != nil {
		np = next(p)
	}
	const block = 512 // bytes
	acc := s.vecs(8)
	s.zero(acc...)
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(9), blocks)
	JZ(LabelRef("rest"))
	Label("block")
	for o := 0; o < block; o += s.width * 4 {
		if next != nil && o%64 == 0 {
			prefetch(np, o, 64)
		}
		a := acc[o/(s.width*4)%len(acc)]
		VPADDQ(at(p, o), a, a)
		if next != nil {
			pace(a, loadPace)
		}
	}
	if next != nil {
		ADDQ(U32(block), np)
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
	if next != nil {
		end := GP64()
		LEAQ(Mem{Base: np, Index: n, Scale: 1}, end)
		Label("line")
		CMPQ(np, end)
		JGE(LabelRef("word"))
		prefetch(np, 0, 64)
		ADDQ(U32(64), np)
		JMP(LabelRef("line"))
	}
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
