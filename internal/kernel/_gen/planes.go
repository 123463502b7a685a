package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planeBlock is the elements of a block of codes in planes, 32 bytes a bit.
const planeBlock = 256

// planeKernels writes the products with codes of 1 to 3 bits.
func (s isa) planeKernels() {
	for bits := 1; bits <= 3; bits++ {
		if s.width == 8 {
			s.dotPlanes(bits)
			continue
		}
		s.dotPlanesVNNI(bits, 1)
		s.dotPlanesVNNI(bits, 4)
	}
}

// planes says where a row's planes lie in a block.
func planes(bits int) (pairs, singles int) { return 0, bits &^ 1 * planeBlock / 8 }

// planeName is DotU2S8 for 2 bits.
func planeName(dot string, bits int) string { return dot + "U" + string(rune('0'+bits)) + "S8" }

// dotPlanes unpacks 32 elements at a time. A pair of products is at most
// 2*7*127 in magnitude, and 16 bits hold the eight of a block.
func (s isa) dotPlanes(bits int) {
	s.text(planeName("Dot", bits), sketchSig, "is Set.DotPlanesS8 of package kernel.")
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	xp := Load(Param("x").Base(), GP64())
	acc, ones := YMM(), broadcast32(0x00010001)
	s.zero(acc)
	var low, high reg.VecVirtual // masks
	top := U8(bits &^ 1)         // the place of the bit from the singles
	if bits > 1 {
		low = broadcast32(0x03030303)
	}
	if bits%2 == 1 {
		high = broadcast32(0x01010101 << top)
	}
	pairsAt, singlesAt := planes(bits)
	planeLoop(bits, wp, xp, n, func() {
		var pairs, singles reg.VecVirtual
		if bits%2 == 1 {
			singles = YMM()
			VMOVDQU(at(wp, singlesAt), singles)
		}
		sum := YMM()
		for i := range 8 {
			var v reg.VecVirtual
			if bits > 1 {
				if i%4 == 0 {
					pairs = YMM()
					VMOVDQU(at(wp, pairsAt+i/4*32), pairs)
				}
				v = YMM()
				VPSRLW(U8(i%4*2), pairs, v)
				VPAND(low, v, v)
			}
			if bits%2 == 1 {
				b := YMM()
				if by := i - int(top); by < 0 {
					VPSLLW(U8(-by), singles, b)
				} else {
					VPSRLW(U8(by), singles, b)
				}
				VPAND(high, b, b)
				if v != nil {
					VPOR(b, v, v)
				} else {
					v = b
				}
			}
			VPMADDUBSW(at(xp, i*32), v, v)
			if i == 0 {
				VMOVDQA(v, sum)
			} else {
				VPADDW(v, sum, sum)
			}
		}
		VPMADDWD(ones, sum, sum)
		VPADDD(sum, acc, acc)
	})
	storeSum32(acc)
	RET()
}

// dotPlanesVNNI lays 32 bytes twice into a register and turns each half by
// another count, which gives 64 elements in the order of x. For four rows of x
// they are laid out once.
func (s isa) dotPlanesVNNI(bits, rows int) {
	r := rows4{}
	if rows == 1 {
		s.text(planeName("Dot", bits), sketchSig, "is Set.DotPlanesS8 of package kernel. It needs AVX512_VNNI.")
	} else {
		s.text(planeName("Dot4", bits), "func(w []byte, x []int8, stride int) [4]int32", "is Set.Dot4PlanesS8 of package kernel. It needs AVX512_VNNI.")
	}
	wp := Load(Param("w").Base(), GP64())
	n := Load(Param("w").Len(), GP64())
	r.xp = Load(Param("x").Base(), GP64())
	if rows == 4 {
		r.stride, r.stride3 = Load(Param("stride"), GP64()), GP64()
		LEAQ(Mem{Base: r.stride, Index: r.stride, Scale: 2}, r.stride3)
	}
	acc := make([][]reg.VecVirtual, rows)
	for j := range acc {
		acc[j] = s.vecs(4 / min(rows, 2))
		s.zero(acc[j]...)
	}
	var low, all reg.VecVirtual // masks: of the pairs' bits, and of a code
	// Turns bring the first 64 elements to where the mask all has them; 4 or 2 bits
	// further are the next.
	var pairTurn, singleTurn reg.VecVirtual
	all = broadcast32Z(0x01010101 * uint32(1<<bits-1))
	if bits > 1 {
		pairTurn = halves64(0, 2)
	}
	if bits == 3 {
		low = broadcast32Z(0x03030303)
	}
	if bits%2 == 1 {
		singleTurn = halves64(-(bits&^1)&63, (1-bits&^1)&63)
	}
	pairsAt, singlesAt := planes(bits)
	planeLoop(bits, wp, r.xp, n, func() {
		prefetch(wp, ahead, (bits*32+63)&^63)
		var pairs, singles reg.VecVirtual
		if bits%2 == 1 {
			singles = ZMM()
			VBROADCASTI64X4(at(wp, singlesAt), singles)
			VPRORVQ(singleTurn, singles, singles)
		}
		for i := range 4 {
			if bits%2 == 1 && i > 0 {
				VPRORQ(U8(2), singles, singles)
			}
			switch {
			case bits == 1:
			case i%2 == 1:
				VPRORQ(U8(4), pairs, pairs)
			default:
				pairs = ZMM()
				VBROADCASTI64X4(at(wp, pairsAt+i/2*32), pairs)
				VPRORVQ(pairTurn, pairs, pairs)
			}
			v := ZMM()
			switch bits {
			case 1:
				VPANDD(all, singles, v)
			case 2:
				VPANDD(all, pairs, v)
			case 3:
				VMOVDQA64(pairs, v)
				VPTERNLOGD(U8(0xe2), singles, low, v) // v where low is set, else singles
				VPANDD(all, v, v)
			}
			for j := range acc {
				x := at(r.xp, i*64)
				if rows == 4 {
					x = r.x(j, i*64)
				}
				VPDPBUSD(x, v, acc[j][i%len(acc[j])])
			}
		}
	})
	for j, a := range acc {
		for half := len(a) / 2; half > 0; half /= 2 {
			for i := range half {
				VPADDD(a[half+i], a[i], a[i])
			}
		}
		sum := sum32Z(a[0])
		if rows == 1 {
			VZEROUPPER()
			Store(sum, ReturnIndex(0))
		} else {
			Store(sum, ReturnIndex(0).Index(j))
		}
	}
	if rows == 4 {
		VZEROUPPER()
	}
	RET()
}

// planeLoop walks the whole blocks of the n bytes at wp.
func planeLoop(bits int, wp, xp, n reg.Register, block func()) {
	loop, next := label("blocks", bits), label("after", bits)
	Label(loop)
	CMPQ(n, U32(bits*planeBlock/8))
	JL(LabelRef(next))
	block()
	ADDQ(U32(bits*planeBlock/8), wp)
	ADDQ(U32(planeBlock), xp)
	SUBQ(U32(bits*planeBlock/8), n)
	JMP(LabelRef(loop))
	Label(next)
}

// sum32Z is the sum of sixteen int32.
func sum32Z(z reg.VecVirtual) reg.GPVirtual {
	y, hi, x := z.AsY(), YMM(), XMM()
	VEXTRACTI64X4(U8(1), z, hi)
	VPADDD(hi, y, hi)
	VEXTRACTI128(U8(1), hi, x)
	VPADDD(hi.AsX(), x, x)
	VPHADDD(x, x, x)
	VPHADDD(x, x, x)
	sum := GP32()
	VMOVD(x, sum)
	return sum
}

// broadcast32Z fills a ZMM register with one 32-bit constant.
func broadcast32Z(v uint32) reg.VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
	return z
}

// halves64 fills the lower half of a ZMM register with one 64-bit constant and
// the upper with another.
func halves64(low, high int) reg.VecVirtual {
	r, z, y := GP64(), ZMM(), YMM()
	MOVQ(U64(low), r)
	VPBROADCASTQ(r, z)
	MOVQ(U64(high), r)
	VPBROADCASTQ(r, y)
	VINSERTI64X4(U8(1), y, z, z)
	return z
}
