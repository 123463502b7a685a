package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sketch is a type of sketches: its bits, and the bytes and codes of a block.
type sketch struct {
	name         string
	bytes, codes int
}

// A block of a sketch of 3 bits is the lower two bits of its codes in 64 bytes and
// then their highest bits in 32. Package kernel says which bit lies where.
var (
	sketch4 = sketch{"U4S8", 32, 64}
	sketch3 = sketch{"U3S8", 96, 256}
)

const sketch3High = 64 // where the highest bits of a block of sketch3 begin

// dot opens Dot<k> or Dot4<k> and loads its arguments; n is bytes.
func (k sketch) dot(s isa, rows int, needs string) (wp, n reg.Register, x rows4) {
	name, sig := "Dot"+k.name, "func(w []byte, x []int8) int32"
	if rows == 4 {
		name, sig = "Dot4"+k.name, "func(w []byte, x []int8, stride int) [4]int32"
	}
	s.text(name, sig, "is Set."+name+" of package kernel."+needs)
	wp, n = Load(Param("w").Base(), GP64()), Load(Param("w").Len(), GP64())
	x = rows4{xp: Load(Param("x").Base(), GP64())}
	if rows == 4 {
		x = strided(x.xp, Load(Param("stride"), GP64()))
	}
	return wp, n, x
}

// loop walks the whole blocks of the n bytes at wp, many a step and then one.
func (k sketch) loop(wp, xp, n reg.Register, many []int, step func(blocks int)) {
	for _, blocks := range many {
		loop, next := label("blocks", blocks), label("after", blocks)
		Label(loop)
		CMPQ(n, U32(blocks*k.bytes))
		JL(LabelRef(next))
		step(blocks)
		ADDQ(U32(blocks*k.bytes), wp)
		ADDQ(U32(blocks*k.codes), xp)
		SUBQ(U32(blocks*k.bytes), n)
		JMP(LabelRef(loop))
		Label(next)
	}
}

// dotVNNI writes Dot<k> or Dot4<k> by AVX512_VNNI. unpack gives 64 codes of some
// blocks after the other to use; there are regs registers of sums for each row of x.
func (k sketch) dotVNNI(s isa, rows, regs int, many []int, prepare func() (unpack func(wp reg.Register, blocks int, use func(i int, v reg.VecVirtual)))) {
	wp, n, x := k.dot(s, rows, " It needs AVX512_VNNI.")
	acc := s.vecs(rows * regs)
	s.zero(acc...)
	unpack := prepare()
	k.loop(wp, x.xp, n, many, func(blocks int) {
		prefetch(wp, ahead, (blocks*k.bytes+63)&^63)
		unpack(wp, blocks, func(i int, v reg.VecVirtual) {
			for j := range rows {
				VPDPBUSD(x.x(j, i*64), v, acc[j*regs+i%regs])
			}
		})
	})
	for j := range rows {
		a := acc[j*regs:][:regs]
		for i := 1; i < regs; i++ {
			VPADDD(a[i], a[0], a[0])
		}
		hi := YMM()
		VEXTRACTI64X4(U8(1), a[0], hi)
		VPADDD(a[0].AsY(), hi, hi)
		sum := sum32(hi)
		if rows == 1 {
			Store(sum, ReturnIndex(0))
		} else {
			Store(sum, ReturnIndex(0).Index(j))
		}
	}
	VZEROUPPER()
	RET()
}

// dotU4S8 multiplies bytes to 16-bit pairs. A pair is at most 2*15*127 = 3810
// in magnitude and 16 bits hold eight of them, so four blocks (two pairs each,
// 30480) are summed before they are widened.
func (s isa) dotU4S8() {
	wp, n, x := sketch4.dot(s, 1, "")
	xp := x.xp
	acc, mask, ones := YMM(), broadcast32(0x0f0f0f0f), broadcast32(0x00010001)
	s.zero(acc)

	block := func(i int) reg.VecVirtual {
		lo, hi := YMM(), YMM()
		VMOVDQU(at(wp, i*sketch4.bytes), lo)
		VPSRLW(U8(4), lo, hi)
		VPAND(mask, lo, lo)
		VPAND(mask, hi, hi)
		VPMADDUBSW(at(xp, i*64), lo, lo)
		VPMADDUBSW(at(xp, i*64+32), hi, hi)
		VPADDW(hi, lo, lo)
		return lo
	}
	step := func(blocks int) {
		prefetch(wp, ahead, (blocks*sketch4.bytes+63)&^63)
		sum := block(0)
		for i := 1; i < blocks; i++ {
			VPADDW(block(i), sum, sum)
		}
		VPMADDWD(ones, sum, sum)
		VPADDD(sum, acc, acc)
	}
	sketch4.loop(wp, xp, n, []int{4, 1}, step)
	storeSum32(acc)
	RET()
}

// dotU4S8VNNI lays a block twice into a register, low nibbles in the lower half
// and high nibbles in the upper, which is the order of x. For four rows of x a
// block is laid out once.
func (s isa) dotU4S8VNNI(rows int) {
	steps := 4 / min(rows, 2) // blocks at a time
	sketch4.dotVNNI(s, rows, steps, []int{steps, 1}, func() func(reg.Register, int, func(int, reg.VecVirtual)) {
		mask, shift := broadcast32Z(0x0f0f0f0f), halves64(0, 4)
		return func(wp reg.Register, blocks int, use func(int, reg.VecVirtual)) {
			for i := range blocks {
				v := ZMM()
				VBROADCASTI64X4(at(wp, i*sketch4.bytes), v)
				VPSRLVQ(shift, v, v)
				VPANDD(mask, v, v)
				use(i, v)
			}
		}
	})
}

// storeSum32 returns the sum of eight int32.
func storeSum32(y reg.VecVirtual) {
	sum := sum32(y)
	VZEROUPPER()
	Store(sum, ReturnIndex(0))
}

// sum32 is the sum of eight int32.
func sum32(y reg.VecVirtual) reg.Register {
	x, hi, sum := y.AsX().(reg.VecVirtual), XMM(), GP32()
	VEXTRACTI128(U8(1), y, hi)
	VPADDD(hi, x, x)
	VPHADDD(x, x, x)
	VPHADDD(x, x, x)
	VMOVD(x, sum)
	return sum
}

// broadcast32 fills a YMM register with one 32-bit constant.
func broadcast32(v uint32) reg.VecVirtual {
	r, y := GP32(), YMM()
	MOVL(U32(v), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}

// absMax writes AbsMaxBits.
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
	max := GP32()
	VMOVD(broadcastMax(acc).AsX(), max)
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
