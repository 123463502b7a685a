package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// softmax writes Softmax, some 200 instructions a page of 64 scores.
func (s isa) softmax() {
	s.text("Softmax", "func(s []float32, state *[3]float32, scale float32)",
		"is Attention.Softmax of package kernel.")
	sp := Load(Param("s").Base(), GP64())
	n := Load(Param("s").Len(), GP64())
	st := Load(Param("state"), GP64())
	SHRQ(U8(4), n)
	each := func(name string, body func(j int)) {
		p, left := GP64(), GP64()
		MOVQ(sp, p)
		MOVQ(n, left)
		Label(name)
		for j := range 2 {
			body(j)
		}
		ADDQ(U32(64), sp)
		DECQ(left)
		JNZ(LabelRef(name))
		MOVQ(p, sp)
	}

	scale, old := YMM(), YMM()
	VBROADCASTSS(paramAddr("scale"), scale)
	VBROADCASTSS(at(st, 0), old)
	top := s.vecs(2)
	for _, v := range top {
		VMOVAPS(old, v)
	}
	each("max", func(j int) {
		v := YMM()
		VMULPS(at(sp, 32*j), scale, v)
		VMOVUPS(v, at(sp, 32*j))
		VMAXPS(v, top[j], top[j])
	})
	VMAXPS(top[1], top[0], top[0])
	swapped := YMM()
	VPERM2F128(U8(1), top[0], top[0], swapped)
	VMAXPS(swapped, top[0], top[0])
	for _, lanes := range []uint8{0x4e, 0xb1} { // swap halves, then neighbours
		VPERMILPS(U8(lanes), top[0], swapped)
		VMAXPS(swapped, top[0], top[0])
	}
	VMOVSS(top[0].AsX(), at(st, 0))

	e := newExp()
	sum := s.vecs(2)
	s.zero(sum...)
	each("exp", func(j int) {
		v := YMM()
		VMOVUPS(at(sp, 32*j), v)
		VSUBPS(top[0], v, v)
		v = e.exp(v)
		VMOVUPS(v, at(sp, 32*j))
		VADDPS(v, sum[j], sum[j])
	})
	VSUBPS(top[0], old, old)
	fix := e.exp(old)
	VMOVSS(fix.AsX(), at(st, 8))
	total := s.fold8(sum)
	VHADDPS(total, total, total)
	VHADDPS(total, total, total)
	x, hi := total.AsX().(reg.VecVirtual), XMM()
	VEXTRACTF128(U8(1), total, hi)
	VADDSS(hi, x, x)
	VFMADD231SS(at(st, 4), fix.AsX().(reg.VecVirtual), x)
	VMOVSS(x, at(st, 4))
	VZEROUPPER()
	RET()
}

// expCoefs are the constants of kernel.exp32, which explains them.
var expCoefs = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// exponential holds what exp needs in memory.
type exponential struct {
	limit, log2e, ln2hi, ln2lo Mem
	coefs                      []Mem
}

// floats8 is a constant in memory, eight times.
func floats8(name string, f float32) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	constants[name] = m
	for i := range 8 {
		DATA(4*i, U32(math.Float32bits(f)))
	}
	return m
}

// newExp lays down the constants.
func newExp() exponential {
	e := exponential{
		limit: floats8("expLimit", -86),
		log2e: floats8("expLog2e", math.Log2E),
		ln2hi: floats8("expLn2Hi", 0.693359375),
		ln2lo: floats8("expLn2Lo", -2.12194440e-4),
	}
	for i, c := range expCoefs {
		e.coefs = append(e.coefs, floats8(label("expCoef", i), c))
	}
	return e
}

// exp is kernel.exp32 of each lane of x, which it overwrites.
func (e exponential) exp(x reg.VecVirtual) reg.VecVirtual {
	zero, n, nf, p := YMM(), YMM(), YMM(), YMM()
	VCMPPS(U8(1), e.limit, x, zero) // x < limit
	VMULPS(e.log2e, x, n)
	VCVTPS2DQ(n, n)
	VCVTDQ2PS(n, nf)
	VFNMADD231PS(e.ln2hi, nf, x)
	VFNMADD231PS(e.ln2lo, nf, x)
	VMOVUPS(e.coefs[0], p)
	for _, c := range e.coefs[1:] {
		VFMADD213PS(c, x, p)
	}
	VPSLLD(U8(23), n, n)
	VPADDD(n, p, p)
	VANDNPS(p, zero, p)
	return p
}
