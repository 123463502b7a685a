package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX2 takes widened rows laid out as AVX-512's are, with the codes of Q8 signed
// as they are stored. Its 16 registers hold the sums of four rows with one
// token, so a tile is one token after the other: the records of a token, which
// come from the level-2 cache, are then read once for four rows.

// widen256 writes Widen<q>.
func (s isa) widen256(q quant) {
	s.text("Widen"+q.name, "func(dst, w []byte, next *byte)", "is Rows.Widen of package kernel.")
	dp := Load(Param("dst").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	np := prefetchBase(wp)
	c, group := s.quantConsts(q), 4*q.bytes
	Label("chunk")
	for g := range chunkGroups {
		CMPQ(n, U32(group))
		JL(LabelRef("done"))
		prefetch(np, 0, group)
		for half := range 2 {
			w := codes256(q, c, wp, half)
			codes, high := wideScales+g*wideGroup+half*32, XMM()
			VMOVDQU(w.low, at(dp, codes))
			VMOVDQU(w.high, at(dp, codes+64))
			VEXTRACTF128(U8(1), w.scale, high)
			VMOVSS(w.scale.AsX(), at(dp, half*32+4*g))
			VMOVSS(high, at(dp, half*32+16+4*g))
		}
		ADDQ(U32(group), wp)
		ADDQ(U32(group), np)
		SUBQ(U32(group), n)
	}
	ADDQ(U32(wideChunk), dp)
	JMP(LabelRef("chunk"))
	Label("done")
	VZEROUPPER()
	RET()
}

// tile256 writes Tile<q>.
func (s isa) tile256(q quant) {
	s.text("Tile"+q.name, fmt.Sprintf("func(out *[%d]float32, w *[%d][]byte, x []byte, stride, tokens int)", quantRows*quantTokens, quantRows),
		"is Rows.Tile of package kernel.")
	out := Load(Param("out"), GP64())
	x := Load(Param("x").Base(), GP64())
	stride := Load(Param("stride"), GP64())
	p, tokens := s.loadWide256(q), Load(Param("tokens"), GP64())
	Label("token")
	s.runWide256(p, x)
	for i, sums := range p.sums {
		VMOVSS(s.reduce(sums[:]), at(out, 4*quantTokens*i))
	}
	ADDQ(stride, x)
	ADDQ(U32(4), out)
	DECQ(tokens)
	JNZ(LabelRef("token"))
	VZEROUPPER()
	RET()
}

// widePass256 is the operands of a pass of quantRows rows and one token.
type widePass256 struct {
	q        quant
	w        [quantRows]reg.GPVirtual
	n        reg.GPVirtual // bytes of a row
	ones     reg.VecVirtual
	products Mem                          // [quantRows, 2, 8] float32: of a chunk's scales
	sums     [quantRows][2]reg.VecVirtual // of the halves of groups
	off      reg.GPVirtual                // bytes of a row that were
	xp       reg.GPVirtual                // a chunk's records
}

// loadWide256 loads the rows' addresses from parameter w, and their length.
func (s isa) loadWide256(q quant) *widePass256 {
	p := &widePass256{q: q, n: GP64(), off: GP64(), xp: GP64(), products: AllocLocal(quantRows * 64)}
	w := Load(Param("w"), GP64())
	for i := range p.w {
		p.w[i] = GP64()
		MOVQ(at(w, 24*i), p.w[i])
		p.sums[i] = [2]reg.VecVirtual{s.vec(), s.vec()}
	}
	MOVQ(at(w, 8), p.n)
	p.ones = broadcast32(0x00010001)
	return p
}

// row is the memory disp bytes into the chunk of row i.
func (p *widePass256) row(i, disp int) Mem {
	return Mem{Base: p.w[i], Index: p.off, Scale: 1, Disp: disp}
}

// scales is the products of row i's scales with the token's, for a half of each
// group: those of group g in lanes g and 4+g.
func (p *widePass256) scales(i, half int) Mem { return p.products.Offset(64*i + 32*half) }

// runWide256 sums the products of all rows with the records at x. Each takes
// the very steps of dotQuant.
func (s isa) runWide256(p *widePass256, x reg.Register) {
	for _, sums := range p.sums {
		s.zero(sums[:]...)
	}
	left := GP64()
	XORQ(p.off, p.off)
	MOVQ(p.n, left)
	MOVQ(x, p.xp)
	Label("chunk")
	CMPQ(left, U32(0))
	JLE(LabelRef("reduce"))
	scales := [2]reg.VecVirtual{YMM(), YMM()}
	for half, v := range scales {
		VMOVUPS(at(p.xp, recordScale+32*half), v)
	}
	for g := 1; g < chunkGroups; g++ {
		CMPQ(left, U32(wideScales+g*wideGroup))
		JLE(LabelRef("scaled"))
		for half, v := range scales {
			VBLENDPS(U8(0x11<<g), at(p.xp, g*recordBytes+recordScale+32*half), v, v)
		}
	}
	Label("scaled")
	for half, v := range scales {
		for i := range p.w {
			product := YMM()
			VMULPS(p.row(i, 32*half), v, product)
			VMOVUPS(product, p.scales(i, half))
		}
	}
	for g := range chunkGroups {
		if g > 0 {
			CMPQ(left, U32(wideScales+g*wideGroup))
			JLE(LabelRef("reduce"))
		}
		for half := range 2 {
			s.wideHalf(p, g, half)
		}
	}
	ADDQ(U32(wideChunk), p.off)
	ADDQ(U32(chunkGroups*recordBytes), p.xp)
	SUBQ(U32(wideChunk), left)
	JMP(LabelRef("chunk"))
	Label("reduce")
}

// wideHalf adds half of group g of a chunk.
func (s isa) wideHalf(p *widePass256, g, half int) {
	record, codes := g*recordBytes+32*half, wideScales+g*wideGroup+32*half
	low, high, zero := YMM(), YMM(), YMM()
	VMOVDQU(at(p.xp, record+recordLow), low)
	VMOVDQU(at(p.xp, record+recordHigh), high)
	if p.q == q4 {
		VMOVDQU(at(p.xp, record+recordZero), zero)
	}
	for i, sums := range p.sums {
		sum, other := YMM(), YMM()
		VMOVDQU(p.row(i, codes), sum)
		if p.q == q4 {
			VPMADDUBSW(low, sum, sum)
			VMOVDQU(p.row(i, codes+64), other)
			VPMADDUBSW(high, other, other)
			VPADDW(other, sum, sum)
			VPMADDWD(p.ones, sum, sum)
			VPADDD(zero, sum, sum)
		} else {
			p.signed(low, sum)
			VMOVDQU(p.row(i, codes+64), other)
			p.signed(high, other)
			VPADDD(other, sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		VPERMILPS(U8(0x55*g), p.scales(i, half), other)
		VFMADD231PS(other, sum, sums[half])
	}
}

// signed sets w, signed codes, to the sums of their products with x in fours.
func (p *widePass256) signed(x, w reg.VecVirtual) {
	magnitude := YMM()
	VPABSB(w, magnitude)
	VPSIGNB(w, x, w)
	VPMADDUBSW(w, magnitude, w)
	VPMADDWD(p.ones, w, w)
}
