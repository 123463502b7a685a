package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	sketchSig  = "func(w []byte, x []int8) int32"
	sketch4Sig = "func(w []byte, x []int8, stride int) [4]int32"
	sketchDoc  = "is Set.DotU4S8 of package kernel."
	// sketchBlock is the bytes of one block: 64 elements of 4 bits.
	sketchBlock = 32
)

// dotU4S8 multiplies bytes to 16-bit pairs. A pair is at most 2*15*127 = 3810
// in magnitude and 16 bits hold eight of them, so four blocks (two pairs each,
// 30480) are summed before they are widened.
func (s isa) dotU4S8() {
	s.text("DotU4S8", sketchSig, sketchDoc)
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	xp := Load(Param("x").Base(), GP64())
	acc, mask, ones := YMM(), broadcast32(0x0f0f0f0f), broadcast32(0x00010001)
	s.zero(acc)

	block := func(i int) reg.VecVirtual {
		lo, hi := YMM(), YMM()
		VMOVDQU(at(wp, i*sketchBlock), lo)
		VPSRLW(U8(4), lo, hi)
		VPAND(mask, lo, lo)
		VPAND(mask, hi, hi)
		VPMADDUBSW(at(xp, i*64), lo, lo)
		VPMADDUBSW(at(xp, i*64+32), hi, hi)
		VPADDW(hi, lo, lo)
		return lo
	}
	step := func(blocks int) {
		prefetch(wp, ahead, (blocks*sketchBlock+63)&^63)
		sum := block(0)
		for i := 1; i < blocks; i++ {
			VPADDW(block(i), sum, sum)
		}
		VPMADDWD(ones, sum, sum)
		VPADDD(sum, acc, acc)
	}
	sketchLoop(wp, xp, n, 4, step)
	storeSum32(acc)
	RET()
}

// dotU4S8VNNI lays a block twice into a register, low nibbles in the lower half
// and high nibbles in the upper, which is the order of x. For four rows of x a
// block is laid out once.
func (s isa) dotU4S8VNNI(rows int) {
	steps := 4 // blocks at a time
	if rows == 1 {
		s.text("DotU4S8", sketchSig, sketchDoc+" It needs AVX512_VNNI.")
	} else {
		steps = 2
		s.text("Dot4U4S8", sketch4Sig, "is Set.Dot4U4S8 of package kernel. It needs AVX512_VNNI.")
	}
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	r := rows4{xp: Load(Param("x").Base(), GP64())}
	if rows == 4 {
		r.stride, r.stride3 = Load(Param("stride"), GP64()), GP64()
		LEAQ(Mem{Base: r.stride, Index: r.stride, Scale: 2}, r.stride3)
	}
	acc, mask, shift := s.vecs(rows*steps), broadcast32Z(0x0f0f0f0f), halves64(0, 4)
	s.zero(acc...)
	sketchLoop(wp, r.xp, n, steps, func(blocks int) {
		prefetch(wp, ahead, (blocks*sketchBlock+63)&^63)
		for i := range blocks {
			v := ZMM()
			VBROADCASTI64X4(at(wp, i*sketchBlock), v)
			VPSRLVQ(shift, v, v)
			VPANDD(mask, v, v)
			for j := range rows {
				VPDPBUSD(r.x(j, i*64), v, acc[j*steps+i])
			}
		}
	})
	for j := range rows {
		a := acc[j*steps:][:steps]
		for i := 1; i < steps; i++ {
			VPADDD(a[i], a[0], a[0])
		}
		storeSum32Z(a[0], rows, j)
	}
	VZEROUPPER()
	RET()
}

// sketchLoop walks the n bytes at wp, many blocks a step and then one.
func sketchLoop(wp, xp, n reg.Register, many int, step func(blocks int)) {
	SHRQ(U8(5), n)
	for _, blocks := range []int{many, 1} {
		loop, next := label("blocks", blocks), label("after", blocks)
		Label(loop)
		CMPQ(n, U32(blocks))
		JL(LabelRef(next))
		step(blocks)
		ADDQ(U32(blocks*sketchBlock), wp)
		ADDQ(U32(blocks*64), xp)
		SUBQ(U32(blocks), n)
		JMP(LabelRef(loop))
		Label(next)
	}
}

// storeSum32 returns the sum of eight int32.
func storeSum32(y reg.VecVirtual) {
	x, hi := y.AsX().(reg.VecVirtual), XMM()
	VEXTRACTI128(U8(1), y, hi)
	VPADDD(hi, x, x)
	VPHADDD(x, x, x)
	VPHADDD(x, x, x)
	sum := GP32()
	VMOVD(x, sum)
	VZEROUPPER()
	Store(sum, ReturnIndex(0))
}

// broadcast32 fills a YMM register with one 32-bit constant.
func broadcast32(v uint32) reg.VecVirtual {
	r, y := GP32(), YMM()
	MOVL(U32(v), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}

// absMax writes AbsMaxBits. Without its sign a float32 orders as its bits do,
// and infinity and NaN above all others.
func (s isa) absMax() {
	s.text("AbsMaxBits", "func(x []float32) uint32",
		"returns the largest of the bits of |x[k]|, 0 for none.")
	xp := Load(Param("x").Base(), GP64())
	n := Load(Param("x").Len(), GP64())
	mask := broadcast32(0x7fffffff)
	acc := s.vecs(4)
	s.zero(acc...)
	step := func(vecs int) {
		for i := range vecs {
			v := YMM()
			VPAND(at(xp, i*32), mask, v)
			VPMAXUD(v, acc[i], acc[i])
		}
	}
	elementLoops(n, []int{32, 8}, []ptr{{xp, 4}}, func(elems int) { step(elems / 8) })
	elementLoops(n, []int{1}, []ptr{{xp, 4}}, func(int) {
		v := XMM()
		VMOVSS(at(xp, 0), v)
		VPAND(mask.AsX(), v, v)
		VPMAXUD(v.AsY(), acc[0], acc[0])
	})
	VPMAXUD(acc[1], acc[0], acc[0])
	VPMAXUD(acc[3], acc[2], acc[2])
	VPMAXUD(acc[2], acc[0], acc[0])
	x, hi := acc[0].AsX().(reg.VecVirtual), XMM()
	VEXTRACTI128(U8(1), acc[0], hi)
	VPMAXUD(hi, x, x)
	for _, lanes := range []uint8{0x4e, 0xb1} { // swap halves, then neighbours
		VPSHUFD(U8(lanes), x, hi)
		VPMAXUD(hi, x, x)
	}
	max := GP32()
	VMOVD(x, max)
	VZEROUPPER()
	Store(max, ReturnIndex(0))
	RET()
}

// roundS8 writes RoundS8.
func (s isa) roundS8() {
	s.text("RoundS8", "func(dst []int8, x []float32, inv float32) int32",
		"stores x[k]*inv, rounded half to even, in dst[k] and returns their sum.",
		"The caller sees to it that they fit.")
	dp := Load(Param("dst").Base(), GP64())
	xp := Load(Param("x").Base(), GP64())
	n := Load(Param("x").Len(), GP64())
	inv, acc := YMM(), YMM()
	VBROADCASTSS(paramAddr("inv"), inv)
	s.zero(acc)
	ptrs := []ptr{{xp, 4}, {dp, 1}}
	elementLoops(n, []int{8}, ptrs, func(int) {
		v, hi := YMM(), XMM()
		VMULPS(at(xp, 0), inv, v)
		VCVTPS2DQ(v, v)
		VPADDD(v, acc, acc)
		VEXTRACTI128(U8(1), v, hi)
		VPACKSSDW(hi, v.AsX(), hi)
		VPACKSSWB(hi, hi, hi)
		VMOVQ(hi, at(dp, 0))
	})
	elementLoops(n, []int{1}, ptrs, func(int) {
		v, r := XMM(), GP32()
		VMULSS(at(xp, 0), inv.AsX(), v)
		VCVTSS2SI(v, r)
		VMOVD(r, v) // clears the lanes above
		VPADDD(v.AsY(), acc, acc)
		MOVB(r.As8(), at(dp, 0))
	})
	storeSum32(acc)
	RET()
}

// ptr is a pointer that a loop moves, and the bytes of its element.
type ptr struct {
	reg  reg.Register
	size int
}

// elementLoops runs body over the largest blocks first, moves the pointers
// after it and leaves in n what no block covers.
func elementLoops(n reg.Register, blocks []int, ptrs []ptr, body func(elems int)) {
	for _, elems := range blocks {
		loop, next := label("elems", elems), label("below", elems)
		Label(loop)
		CMPQ(n, U32(elems))
		JL(LabelRef(next))
		body(elems)
		for _, p := range ptrs {
			ADDQ(U32(elems*p.size), p.reg)
		}
		SUBQ(U32(elems), n)
		JMP(LabelRef(loop))
		Label(next)
	}
}
