package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX2 takes widened rows laid out as AVX-512's are. Its 16 registers hold the sums of four rows with one
// token, so a tile is one token after the other: the records of a token, which
// come from the level-2 cache, are then read once for four rows.

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
	wideRows
	q        quant
	ones     reg.VecVirtual
	products Mem                          // [quantRows, 2, 8] float32: of a chunk's scales
	sums     [quantRows][2]reg.VecVirtual // of the halves of groups
	xp       reg.GPVirtual                // a chunk's records
}

// loadWide256 loads the rows.
func (s isa) loadWide256(q quant) *widePass256 {
	p := &widePass256{wideRows: loadWideRows(), q: q, xp: GP64(), products: AllocLocal(quantRows * 64)}
	for i := range p.sums {
		p.sums[i] = [2]reg.VecVirtual{s.vec(), s.vec()}
	}
	p.ones = broadcast32(0x00010001)
	return p
}

// scales is the products of row i's scales with the token's, for a half of each
// group: those of group g in lanes g and 4+g.
func (p *widePass256) scales(i, half int) Mem { return p.products.Offset(64*i + 32*half) }

// runWide256 sums the products of all rows with the records at x. Each takes
// the very steps of Dot.
func (s isa) runWide256(p *widePass256, x reg.Register) {
	for _, sums := range p.sums {
		s.zero(sums[:]...)
	}
	MOVQ(x, p.xp)
	scales := [2]reg.VecVirtual{YMM(), YMM()}
	p.chunks(func(g int) {
		for half, v := range scales {
			if m := at(p.xp, g*recordBytes+recordScale+32*half); g == 0 {
				VMOVUPS(m, v)
			} else {
				VBLENDPS(U8(0x11<<g), m, v, v)
			}
		}
	}, func() {
		for half, v := range scales {
			for i := range p.w {
				product := YMM()
				VMULPS(p.row(i, 32*half), v, product)
				VMOVUPS(product, p.scales(i, half))
			}
		}
	}, func(g int) {
		for half := range 2 {
			s.wideHalf(p, g, half)
		}
	}, func() { ADDQ(U32(chunkGroups*recordBytes), p.xp) })
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
