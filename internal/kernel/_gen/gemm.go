package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of many rows with many tokens have a row in each lane: of 16 rows, the
// codes of four elements each, times four elements of a token in every lane. Sums
// of a block are then one conversion and two multiplications for 16 rows, where
// they are as many for one row's 16 blocks in a dot product. The order of sums is
// the dot product's all the same.
const (
	gemmTokens = 8
	panelRows  = 16
	spreadRow  = 640 // bytes of a chunk of a row: codes, scales, second scales or least values
	panelChunk = panelRows * spreadRow
	panelScale = panelRows * roundScales // where the scales of a panel's chunk begin
	accBlock   = gemmTokens * 2 * 64     // bytes of the sums of a block: [tokens, panels, rows]
)

// spread writes Spread<b>: a chunk of each row of a panel as codes, in the order of a
// record of activations, and scales.
func (s isa) spread(b *block) {
	s.text("Spread"+b.name, fmt.Sprintf("func(dst *[%d]byte, rows *[%d][]byte, at, ahead int)", panelChunk, panelRows),
		"takes the chunks of rows that begin at bytes after their beginning apart. It asks for", "what lies ahead bytes further.")
	dp, rp := Load(Param("dst"), GP64()), Load(Param("rows"), GP64())
	from, ahead := Load(Param("at"), GP64()), Load(Param("ahead"), GP64())
	c, left, wp := s.blockConsts(b), GP64(), GP64()
	MOVQ(U32(panelRows), left)
	countdown("spread", left, func() {
		MOVQ(at(rp, 0), wp)
		ADDQ(from, wp)
		prefetchAhead(wp, ahead, chunkBlocks*32/b.elems*b.bytes)
		for i := range 16 / s.width {
			s.spreadPart(b, c, part{s, wp, wp, i}, dp)
		}
		ADDQ(U8(24), rp) // the size of a slice
		ADDQ(U32(spreadRow), dp)
	})
	VZEROUPPER()
	RET()
}

func (s isa) spreadPart(b *block, c blockConsts, p part, dp reg.Register) {
	b.codes(s, b, c, p, func(g, half int, v reg.VecVirtual) { VMOVUPS(v, at(dp, g*128+half*64+p.index*32)) })
	scale, least := b.scales(s, b, c, p)
	for _, v := range least {
		if b.least < 0 {
			if s.width == 16 {
				VPXORD(s.words32("sign", 1<<31), v, v)
			} else {
				VPXOR(s.words32("sign", 1<<31), v, v)
			}
		}
		scale = append(scale, v)
	}
	for j, v := range scale {
		VMOVUPS(v, at(dp, roundScales+64*j+32*p.index))
	}
}

// interleave writes Interleave: rows to lanes, 16 bytes of each row at a time.
func (s isa) interleave() {
	s.text("Interleave", fmt.Sprintf("func(dst *[%d]byte, src *[%d]byte)", panelChunk, panelChunk), "turns a chunk of sixteen rows that Spread wrote, one after the other, into a", "panel: of each four bytes those of all rows.")
	dp, sp, left := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), GP64()
	MOVQ(U32(spreadRow/16), left)
	countdown("piece", left, func() {
		for part := range 16 / s.width {
			first := part * s.width // row
			v, w := s.vecs(4), s.vecs(4)
			for j := range v {
				if s.width == 16 {
					VBROADCASTI32X4(at(sp, j*spreadRow), v[j])
				} else {
					VBROADCASTI128(at(sp, (first+j)*spreadRow), v[j])
				}
				for q := 1; q < s.width/4; q++ {
					s.insert(q, at(sp, (first+4*q+j)*spreadRow), v[j])
				}
			}
			VPUNPCKLDQ(v[1], v[0], w[0])
			VPUNPCKHDQ(v[1], v[0], w[1])
			VPUNPCKLDQ(v[3], v[2], w[2])
			VPUNPCKHDQ(v[3], v[2], w[3])
			for i := range 2 {
				low, high := s.vec(), s.vec()
				VPUNPCKLQDQ(w[2+i], w[i], low)
				VPUNPCKHQDQ(w[2+i], w[i], high)
				VMOVUPS(low, at(dp, 128*i+32*part))
				VMOVUPS(high, at(dp, 128*i+64+32*part))
			}
		}
		ADDQ(U8(16), sp)
		ADDQ(U32(256), dp)
	})
	VZEROUPPER()
	RET()
}

// gemmKind is what of a type matters to its products.
type gemmKind struct {
	name                string
	zero, least, halves bool
}

var gemmKinds = []gemmKind{{name: "Zero", zero: true}, {name: "Least", least: true}, {name: "Halves", zero: true, halves: true}}

// gemm writes Gemm<kind>: a chunk of two panels times that of gemmTokens tokens.
func (s isa) gemm(kind gemmKind) {
	s.text("Gemm"+kind.name, "func(acc, w, w2, x *byte, stride, blocks int, zero uint32, fresh bool)",
		"adds the products of a chunk of two panels, of which so many blocks count,", "with records of activations to acc, or sets it to them.")
	acc := Load(Param("acc"), GP64())
	kept, some := K(), GP32() // what acc holds, or nothing
	MOVBLZX(paramAddr("fresh"), some)
	DECL(some)
	KMOVW(some, kept)
	var w [2]struct{ codes, scales reg.Register }
	for i, name := range []string{"w", "w2"} {
		w[i].codes, w[i].scales = Load(Param(name), GP64()), GP64()
		LEAQ(at(w[i].codes, panelScale), w[i].scales)
	}
	x := Load(Param("x"), GP64())
	stride := Load(Param("stride"), GP64())
	codes := tokens8(x, stride)
	ofBlock := codes
	for i := range ofBlock {
		ofBlock[i].xp = GP64()
		MOVQ(codes[i].xp, ofBlock[i].xp)
	}
	left := Load(Param("blocks"), GP64())
	group := GP64()
	MOVQ(U32(4), group)
	token := func(of [2]rows4, t, disp int) Mem { return of[t/4].x(t%4, disp) }

	zero := ZMM()
	s.zero(zero)
	var offset [2]reg.VecVirtual // what is multiplied with the sums of activations
	if kind.zero {
		z := Load(Param("zero"), GP32())
		offset[0] = ZMM()
		VPBROADCASTD(z, offset[0])
		if kind.halves {
			offset[1] = ZMM()
			VPANDD(s.words32("upper", 0xffff0000), offset[0], offset[1])
			VPANDD(s.words32("lower", 0x0000ffff), offset[0], offset[0])
		}
	}

	Label("block")
	var sums [2][gemmTokens]reg.VecVirtual
	first := func(half int) {
		for t := range gemmTokens {
			sums[0][t], sums[1][t] = ZMM(), ZMM()
			if !kind.zero {
				VMOVDQA32(zero, sums[0][t])
				VMOVDQA32(zero, sums[1][t])
				continue
			}
			VPBROADCASTD(token(ofBlock, t, roundSums), sums[0][t])
			VPMADDWD(offset[half], sums[0][t], sums[0][t])
			VMOVDQA32(sums[0][t], sums[1][t])
		}
	}
	last := func(half int) {
		if !kind.halves {
			half = 0
		}
		var scale, least [2]reg.VecVirtual
		for i := range w {
			scale[i] = s.loadFrom(at(w[i].scales, 64*chunkBlocks*half))
			if kind.least {
				least[i] = s.loadFrom(at(w[i].scales, 64*chunkBlocks))
			}
		}
		for t := range gemmTokens {
			dx, sx := ZMM(), ZMM()
			VBROADCASTSS(token(ofBlock, t, roundScales), dx)
			if kind.least {
				VBROADCASTSS(token(ofBlock, t, roundLeast), sx)
			}
			for i := range w {
				f, a := ZMM(), at(acc, t*128+i*64)
				VMULPS(scale[i], dx, f)
				VCVTDQ2PS(sums[i][t], sums[i][t])
				if half == 0 {
					before := ZMM()
					VMOVUPS_Z(a, kept, before)
					VFMADD213PS(before, f, sums[i][t])
				} else { // the first half's
					VFMADD213PS(a, f, sums[i][t])
				}
				if kind.least {
					VFMADD231PS(sx, least[i], sums[i][t])
				}
				VMOVUPS(sums[i][t], a)
			}
		}
	}
	for half := range 2 {
		if half == 0 || kind.halves {
			first(half)
		}
		for k := range 4 {
			v := [2]reg.VecVirtual{s.loadFrom(at(w[0].codes, half*1024+k*64)), s.loadFrom(at(w[1].codes, half*1024+k*64))}
			for t := range gemmTokens {
				b := ZMM()
				VPBROADCASTD(token(codes, t, half*64+k*4), b)
				VPDPBUSD(b, v[0], sums[0][t])
				VPDPBUSD(b, v[1], sums[1][t])
			}
		}
		if half == 1 || kind.halves {
			last(half)
		}
	}
	// Blocks of one quarter are in the four groups.
	for i := range w {
		ADDQ(U32(2048), w[i].codes)
		ADDQ(U32(64), w[i].scales)
		ADDQ(U32(128), codes[i].xp)
		ADDQ(U32(4), ofBlock[i].xp)
	}
	ADDQ(U32(accBlock), acc)
	DECQ(left)
	JZ(LabelRef("done"))
	DECQ(group)
	JNZ(LabelRef("block"))
	MOVQ(U32(4), group)
	for i := range w {
		SUBQ(U32(4*2048-256), w[i].codes)
		SUBQ(U32(4*128-16), codes[i].xp)
	}
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// tokens8 is eight rows from x on, in fours.
func tokens8(x, stride reg.Register) [2]rows4 {
	a := strided(x, stride)
	b := rows4{xp: GP64(), stride: stride, stride3: a.stride3}
	LEAQ(Mem{Base: x, Index: stride, Scale: 4}, b.xp)
	return [2]rows4{a, b}
}

// gemmEnd writes GemmEnd: the sixteen partial sums of each product are halved as
// in reduce.
func (s isa) gemmEnd() {
	s.text("GemmEnd", "func(out, acc *byte)", "sets out [tokens, rows] to the sums of acc.")
	out, acc, left := Load(Param("out"), GP64()), Load(Param("acc"), GP64()), GP64()
	step := 4 * s.width
	MOVQ(U32(accBlock/step), left)
	countdown("product", left, func() {
		var v [8]reg.VecVirtual
		for i := range v {
			v[i] = s.loadFrom(at(acc, i*accBlock))
			VADDPS(at(acc, (i+8)*accBlock), v[i], v[i])
		}
		for n := 4; n > 0; n /= 2 {
			for i := range n {
				VADDPS(v[i+n], v[i], v[i])
			}
		}
		VMOVUPS(v[0], at(out, 0))
		ADDQ(U32(step), acc)
		ADDQ(U32(step), out)
	})
	VZEROUPPER()
	RET()
}
