package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A tile of quantised weights: quantRows rows, widened, with quantTokens
// activation rows, two at a time.
const (
	quantRows   = 4
	quantTokens = 4
	pairTokens  = 2
)

// A widened row is chunks of four groups, the last of one to four: the scales
// as float32, that of block b of group g in lane 4b+g, and then each group's
// codes as load512 unpacks them, the low halves before the high ones. Products
// of scales are then four multiplications of a row and a token in one, and one
// shuffle within quarters of a register gives those of a group.
const (
	chunkGroups = 4
	wideScales  = 64
	wideGroup   = 128
	wideChunk   = wideScales + chunkGroups*wideGroup
)

// laneMasks are the lanes of each group's scales in a chunk.
func laneMasks() [chunkGroups]reg.OpmaskVirtual {
	var k [chunkGroups]reg.OpmaskVirtual
	bits := GP32()
	for g := range k {
		k[g] = K()
		MOVL(U32(0x1111<<g), bits)
		KMOVW(bits, k[g])
	}
	return k
}

// widen writes Widen<q>. AVX2 leaves the codes of Q8 signed, as they are stored.
func (s isa) widen(q quant) {
	s.text("Widen"+q.name, "func(dst, w []byte, next *byte)", "is Rows.Widen of package kernel.")
	dp := Load(Param("dst").Base(), GP64())
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	np := prefetchBase(wp)
	c, group := s.quantConsts(q), 4*q.bytes
	var masks [chunkGroups]reg.OpmaskVirtual
	if s.width == 16 {
		masks = laneMasks()
	}
	Label("chunk")
	for g, mask := range masks {
		CMPQ(n, U32(group))
		JL(LabelRef("done"))
		prefetch(np, 0, group)
		s.eachHalf(q, c, wp, func(w weights, half int) {
			codes := wideScales + g*wideGroup + half*32
			VMOVUPS(w.low, at(dp, codes))
			VMOVUPS(w.high, at(dp, codes+64))
			if s.width == 16 {
				VMOVUPS(w.scale, mask, at(dp, 0))
				return
			}
			high := XMM()
			VEXTRACTF128(U8(1), w.scale, high)
			VMOVSS(w.scale.AsX(), at(dp, half*32+4*g))
			VMOVSS(high, at(dp, half*32+16+4*g))
		})
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

// wideRows is the widened rows of a tile, and how far a pass over them has come.
type wideRows struct {
	w         [quantRows]reg.GPVirtual
	n         reg.Register // bytes of a row
	left, off reg.Register // bytes of a row that are to come, and that were
}

// loadWideRows loads parameter w.
func loadWideRows() wideRows {
	p := loadRows(dtype{})
	return wideRows{w: p.w, n: p.n, left: GP64(), off: GP64()}
}

// row is the memory disp bytes into the chunk of row i.
func (r wideRows) row(i, disp int) Mem {
	return Mem{Base: r.w[i], Index: r.off, Scale: 1, Disp: disp}
}

// chunks walks the chunks. For each it has scales load the activations' scales of
// each group that there is, multiply multiply them with the rows', and group add
// each group; next goes on to the next chunk's records.
func (r wideRows) chunks(scales func(g int), multiply func(), group func(g int), next func()) {
	XORQ(r.off, r.off)
	MOVQ(r.n, r.left)
	Label("chunk")
	CMPQ(r.left, U32(0))
	JLE(LabelRef("reduce"))
	for g := range chunkGroups {
		if g > 0 {
			CMPQ(r.left, U32(wideScales+g*wideGroup))
			JLE(LabelRef("scaled"))
		}
		scales(g)
	}
	Label("scaled")
	multiply()
	for g := range chunkGroups {
		if g > 0 {
			CMPQ(r.left, U32(wideScales+g*wideGroup))
			JLE(LabelRef("reduce"))
		}
		group(g)
	}
	ADDQ(U32(wideChunk), r.off)
	SUBQ(U32(wideChunk), r.left)
	next()
	JMP(LabelRef("chunk"))
	Label("reduce")
}

// widePass is the operands of a pass of quantRows rows and some tokens.
type widePass struct {
	wideRows
	x      func(token, disp int) Mem      // of a chunk's records
	next   func()                         // goes on to the next chunk's
	masks  [chunkGroups]reg.OpmaskVirtual // of scales
	sums   [quantRows][]reg.VecVirtual    // [rows][tokens]
	scales [quantRows][]reg.VecVirtual    // [rows][tokens] products, of a chunk
	codes  [quantRows][2]reg.VecVirtual   // [rows] low and high, of a group
}

// loadWide loads the rows.
func (s isa) loadWide(tokens int) *widePass {
	p := &widePass{wideRows: loadWideRows()}
	for i := range p.w {
		p.sums[i], p.scales[i] = s.vecs(tokens), s.vecs(tokens)
		p.codes[i] = [2]reg.VecVirtual{s.vec(), s.vec()}
	}
	p.masks = laneMasks()
	return p
}

// runWide sums the products of all rows and tokens. Each takes the very steps of
// Dot.
func (s isa) runWide(p *widePass) {
	for _, sums := range p.sums {
		s.zero(sums...)
	}
	x := s.vecs(len(p.sums[0]))
	p.chunks(func(g int) {
		for t, v := range x {
			if m := p.x(t, g*recordBytes+recordScale); g == 0 {
				VMOVUPS(m, v)
			} else {
				VMOVUPS(m, p.masks[g], v)
			}
		}
	}, func() {
		for i := range p.scales {
			for t, v := range x {
				VMULPS(p.row(i, 0), v, p.scales[i][t])
			}
		}
	}, func(g int) { s.wideGroup(p, g) }, p.next)
}

// wideGroup adds group g of a chunk.
func (s isa) wideGroup(p *widePass, g int) {
	for i, c := range p.codes {
		for half, v := range c {
			VMOVDQU32(p.row(i, wideScales+g*wideGroup+half*64), v)
		}
	}
	for t := range p.sums[0] {
		low, high, zero := s.vec(), s.vec(), s.vec()
		VMOVDQU32(p.x(t, g*recordBytes+recordLow), low)
		VMOVDQU32(p.x(t, g*recordBytes+recordHigh), high)
		VMOVDQU32(p.x(t, g*recordBytes+recordZero), zero)
		for i, c := range p.codes {
			sum, scale := s.vec(), s.vec()
			VMOVDQA32(zero, sum)
			VPDPBUSD(low, c[0], sum)
			VPDPBUSD(high, c[1], sum)
			VCVTDQ2PS(sum, sum)
			VPERMILPS(U8(0x55*g), p.scales[i][t], scale)
			VFMADD231PS(scale, sum, p.sums[i][t])
		}
	}
}

// halve is the end of a dot product for eight at once, or for four if it gets
// no more: lanes of two registers that are to be added are brought together
// before they are. The sums of v[i] and v[i+4] end up in lanes 4i and 4i+2.
func (s isa) halve(v []reg.VecVirtual) reg.VecVirtual {
	// pair adds what low takes of a and b to what high takes.
	pair := func(a, b reg.VecVirtual, low, high func(a, b, dst reg.VecVirtual)) reg.VecVirtual {
		l, h := s.vec(), s.vec()
		low(a, b, l)
		high(a, b, h)
		VADDPS(h, l, l)
		return l
	}
	quarters := func(imm uint8) func(a, b, dst reg.VecVirtual) {
		return func(a, b, dst reg.VecVirtual) { VSHUFF32X4(U8(imm), b, a, dst) }
	}
	var halves, fours []reg.VecVirtual
	for i := 0; i < len(v); i += 2 {
		halves = append(halves, pair(v[i], v[i+1], quarters(0x44), quarters(0xee)))
	}
	for i := 0; i < len(halves); i += 2 {
		fours = append(fours, pair(halves[i], halves[i+1], quarters(0x88), quarters(0xdd)))
	}
	sum := pair(fours[0], fours[len(fours)-1],
		func(a, b, dst reg.VecVirtual) { VUNPCKLPD(b, a, dst) },
		func(a, b, dst reg.VecVirtual) { VUNPCKHPD(b, a, dst) })
	odd := s.vec()
	VMOVSHDUP(sum, odd)
	VADDPS(odd, sum, sum)
	return sum
}

// compress moves the lanes of mask together.
func compress(mask uint32, v reg.VecVirtual) {
	bits, k := GP32(), K()
	MOVL(U32(mask), bits)
	KMOVW(bits, k)
	VCOMPRESSPS(v, k, v)
}

// tileWide writes TileWide. With two tokens at a time a pass has registers for
// its sums, its scales and its codes, and four rows stay in the level-1 cache
// while tokens come from the level-2 cache.
func (s isa) tileWide() {
	s.text("TileWide", fmt.Sprintf("func(out *[%d]float32, w *[%d][]byte, x []byte, stride int)", quantRows*quantTokens, quantRows),
		"is Rows.Tile of package kernel for quantTokens tokens.")
	out := Load(Param("out"), GP64())
	first := Load(Param("x").Base(), GP64())
	stride := Load(Param("stride"), GP64())
	p, xp, pairs := s.loadWide(pairTokens), GP64(), GP64()
	p.x = func(t, disp int) Mem {
		if t == 0 {
			return at(xp, disp)
		}
		return Mem{Base: xp, Index: stride, Scale: 1, Disp: disp}
	}
	p.next = func() { ADDQ(U32(chunkGroups*recordBytes), xp) }
	MOVQ(U32(quantTokens/pairTokens), pairs)
	Label("pair")
	MOVQ(first, xp)
	s.runWide(p)
	var v []reg.VecVirtual
	for t := range pairTokens {
		for i := range p.sums {
			v = append(v, p.sums[i][t])
		}
	}
	sum := s.halve(v)
	compress(0x5555, sum) // token by token of row 0, then of row 1
	x, hi := sum.AsX(), XMM()
	VEXTRACTF128(U8(1), sum.AsY(), hi)
	VMOVLPS(x, at(out, 0))
	VMOVHPS(x, at(out, 4*quantTokens))
	VMOVLPS(hi, at(out, 8*quantTokens))
	VMOVHPS(hi, at(out, 12*quantTokens))
	LEAQ(Mem{Base: first, Index: stride, Scale: pairTokens}, first)
	ADDQ(U32(4*pairTokens), out)
	DECQ(pairs)
	JNZ(LabelRef("pair"))
	VZEROUPPER()
	RET()
}

// rowsWide writes RowsWide.
func (s isa) rowsWide() {
	s.text("RowsWide", fmt.Sprintf("func(out *[%d]float32, w *[%d][]byte, x []byte)", quantRows, quantRows),
		"is Rows.Tile of package kernel for one token.")
	out := Load(Param("out"), GP64())
	xp := Load(Param("x").Base(), GP64())
	p := s.loadWide(1)
	p.x = func(_, disp int) Mem { return at(xp, disp) }
	p.next = func() { ADDQ(U32(chunkGroups*recordBytes), xp) }
	s.runWide(p)
	var v []reg.VecVirtual
	for i := range p.sums {
		v = append(v, p.sums[i][0])
	}
	sum := s.halve(v)
	compress(0x1111, sum)
	VMOVUPS(sum.AsX(), at(out, 0))
	VZEROUPPER()
	RET()
}
