package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemm256 writes Gemm<kind> for AVX2, of one panel and two tokens, which is what
// its registers hold. signed says that codes are signed, whose products do not fit
// 16 bits in pairs of pairs.
func (s isa) gemm256(kind gemmKind, signed bool) {
	s.text("Gemm"+kind.name, "func(acc, w, x *byte, stride, blocks int, zero uint32)",
		"adds the products of a chunk of a panel, of which so many blocks count, with", "two records of activations to acc.")
	acc := Load(Param("acc"), GP64())
	codes, scales := Load(Param("w"), GP64()), GP64()
	LEAQ(at(codes, panelScale), scales)
	xp, xs := Load(Param("x"), GP64()), GP64()
	MOVQ(xp, xs)
	stride := Load(Param("stride"), GP64())
	left, group := Load(Param("blocks"), GP64()), GP64()
	MOVQ(U32(4), group)
	token := func(base reg.Register, t, disp int) Mem {
		if t == 0 {
			return at(base, disp)
		}
		return Mem{Base: base, Index: stride, Scale: 1, Disp: disp}
	}
	ones := broadcast32(0x00010001)
	var offset [2]reg.VecVirtual
	if kind.zero {
		z := Load(Param("zero"), GP32())
		offset[0] = YMM()
		VMOVD(z, offset[0].AsX())
		VPBROADCASTD(offset[0].AsX(), offset[0])
		offset[1] = offset[0]
		if kind.halves {
			offset[1] = YMM()
			VPAND(s.words32("upper", 0xffff0000), offset[0], offset[1])
			VPAND(s.words32("lower", 0x0000ffff), offset[0], offset[0])
		}
	}
	Label("block")
	var sums [2][2]reg.VecVirtual // [token, register]
	add := func(t, r int, v reg.VecVirtual) {
		VPMADDWD(ones, v, v)
		if sums[t][r] == nil {
			sums[t][r] = v
		} else {
			VPADDD(v, sums[t][r], sums[t][r])
		}
	}
	for half := range 2 {
		if half == 0 || kind.halves {
			sums = [2][2]reg.VecVirtual{}
			for t := range sums {
				for r := range sums[t] {
					if kind.zero {
						sums[t][r] = YMM()
						VPBROADCASTD(token(xs, t, roundSums), sums[t][r])
						VPMADDWD(offset[half], sums[t][r], sums[t][r])
					}
				}
			}
		}
		code := func(k, r int) reg.VecVirtual { return s.loadFrom(at(codes, half*1024+k*64+r*32)) }
		x := func(t, k int) reg.VecVirtual {
			v := YMM()
			VPBROADCASTD(token(xp, t, half*64+k*4), v)
			return v
		}
		for k := 0; k < 4 && signed; k++ {
			w, size := [2]reg.VecVirtual{code(k, 0), code(k, 1)}, [2]reg.VecVirtual{YMM(), YMM()}
			for r := range w {
				VPABSB(w[r], size[r])
			}
			for t := range sums {
				v := x(t, k)
				for r := range w {
					m := YMM()
					VPSIGNB(w[r], v, m)
					VPMADDUBSW(m, size[r], m)
					add(t, r, m)
				}
			}
		}
		for k := 0; k < 4 && !signed; k += 2 {
			w := [2][2]reg.VecVirtual{{code(k, 0), code(k, 1)}, {code(k+1, 0), code(k+1, 1)}}
			for t := range sums {
				v := [2]reg.VecVirtual{x(t, k), x(t, k+1)}
				for r := range 2 {
					m, n := YMM(), YMM()
					VPMADDUBSW(v[0], w[0][r], m)
					VPMADDUBSW(v[1], w[1][r], n)
					VPADDW(n, m, m)
					add(t, r, m)
				}
			}
		}
		if half == 0 && !kind.halves {
			continue
		}
		at64 := 0
		if kind.halves {
			at64 = 64 * chunkBlocks * half
		}
		for t := range sums {
			dx, sx := YMM(), YMM()
			VBROADCASTSS(token(xs, t, roundScales), dx)
			if kind.least {
				VBROADCASTSS(token(xs, t, roundLeast), sx)
			}
			for r, sum := range sums[t] {
				f, a := YMM(), at(acc, t*128+r*32)
				VMULPS(at(scales, at64+r*32), dx, f)
				VCVTDQ2PS(sum, sum)
				VFMADD213PS(a, f, sum)
				if kind.least {
					VFMADD231PS(at(scales, 64*chunkBlocks+r*32), sx, sum)
				}
				VMOVUPS(sum, a)
			}
		}
	}
	ADDQ(U32(2048), codes)
	ADDQ(U32(64), scales)
	ADDQ(U32(128), xp)
	ADDQ(U32(4), xs)
	ADDQ(U32(accBlock), acc)
	DECQ(left)
	JZ(LabelRef("done"))
	DECQ(group)
	JNZ(LabelRef("block"))
	MOVQ(U32(4), group) // blocks of one quarter are in the four groups
	SUBQ(U32(4*2048-256), codes)
	SUBQ(U32(4*128-16), xp)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}
