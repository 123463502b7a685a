package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// swish writes Swish for whole registers.
func (s isa) swish() {
	s.text("Swish", "func(h, up []float32, linear, cubic float32)",
		"is Set.Swish of package kernel, for a multiple of eight elements.")
	hp := Load(Param("h").Base(), GP64())
	n := Load(Param("h").Len(), GP64())
	up := Load(Param("up").Base(), GP64())
	ups := Load(Param("up").Len(), GP64())
	linear, cubic, e := YMM(), YMM(), newExp()
	VBROADCASTSS(paramAddr("linear"), linear)
	VBROADCASTSS(paramAddr("cubic"), cubic)
	most, sign, one := floats8("swishMost", 1e30), s.words32("sign", 1<<31), floats8("swishOne", 1)
	loop := func(name string, last func(v reg.VecVirtual)) {
		countdown(name, n, func() {
			x, z, below := YMM(), YMM(), YMM()
			VMOVUPS(at(hp, 0), x)
			VMULPS(x, x, z)
			VMINPS(most, z, z)
			VFMADD213PS(linear, cubic, z) // z cubic + linear
			VMULPS(x, z, z)
			VMOVAPS(z, below)
			VORPS(sign, z, z) // -|z|
			z = e.exp(z)
			v, divisor := YMM(), YMM()
			VMULPS(z, x, v)
			VBLENDVPS(below, v, x, v)
			VADDPS(one, z, divisor)
			VDIVPS(divisor, v, v)
			last(v)
			VMOVUPS(v, at(hp, 0))
			ADDQ(U8(32), hp)
		})
	}
	SHRQ(U8(3), n)
	TESTQ(ups, ups)
	JNZ(LabelRef("products"))
	loop("alone", func(reg.VecVirtual) {})
	JMP(LabelRef("done"))
	Label("products")
	loop("product", func(v reg.VecVirtual) {
		VMULPS(at(up, 0), v, v)
		ADDQ(U8(32), up)
	})
	Label("done")
	VZEROUPPER()
	RET()
}
