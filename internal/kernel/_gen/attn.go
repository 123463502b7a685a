package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// q8Page is GGUF's q8_0: blocks of 32 elements, a float16 scale and 32 int8.
var q8Page = dtype{name: "Q8"}

const q8Bytes = 34 // of a block of q8Page

// attention writes the kernels of kernel.Attention.
func (s isa) attention() {
	s.scores4()
	s.values4()
	types := []dtype{f32, f16, q8Page}
	if s.width == 16 {
		types = types[:2] // wider registers gain nothing from blocks
	}
	for _, t := range types {
		s.scores(t)
		s.values(t)
	}
}

// step is the least elements of a row that t is read by, and their bytes.
func (t dtype) step() (elems, bytes int) {
	if t == q8Page {
		return 32, q8Bytes
	}
	return 16, 16 * t.size
}

// loadElems loads elems elements of type t at m, a multiple of a step, as
// float32 registers.
func (s isa) loadElems(t dtype, m Mem, elems int) []reg.VecVirtual {
	v := s.vecs(elems / s.width)
	if t != q8Page {
		for i := range v {
			s.loadW(t, m.Offset(i*s.width*t.size), v[i])
		}
		return v
	}
	for block := range elems / 32 {
		at, scale := m.Offset(block*q8Bytes), s.vec()
		s.broadcastF16(at, scale)
		for i := range 32 / s.width {
			w := v[block*32/s.width+i]
			VPMOVSXBD(at.Offset(2+i*s.width), w)
			VCVTDQ2PS(w, w)
			VMULPS(scale, w, w)
		}
	}
	return v
}

// scores writes Scores<t>: four keys at a time, whose 16 partial sums each
// meet in fold4.
func (s isa) scores(t dtype) {
	s.text("Scores"+t.name, "func(s, q []float32, keys []byte, next *byte)", "is Pages.Scores of package kernel.")
	sp := Load(Param("s").Base(), GP64())
	n := Load(Param("s").Len(), GP64())
	q := Load(Param("q").Base(), GP64())
	steps := Load(Param("q").Len(), GP64())
	kp := Load(Param("keys").Base(), GP64())
	np := prefetchBase(kp)
	elems, size := t.step()
	shiftBy(steps, elems)
	rowBytes := GP64()
	IMUL3Q(U32(size), steps, rowBytes)
	r := strided(kp, rowBytes)
	SHRQ(U8(2), n)
	countdown("keys", n, func() {
		acc := make([][]reg.VecVirtual, 4)
		for i := range acc {
			acc[i] = s.vecs(16 / s.width)
			s.zero(acc[i]...)
		}
		qp, left := GP64(), GP64()
		MOVQ(q, qp)
		MOVQ(steps, left)
		countdown("dims", left, func() {
			prefetch(np, 0, 4*size)
			for i := range acc {
				for j, v := range s.loadElems(t, r.x(i, 0), elems) {
					pace(v, t.dotPace)
					VFMADD231PS(at(qp, j*s.width*4), v, acc[i][j%len(acc[i])])
				}
			}
			ADDQ(U32(elems*4), qp)
			ADDQ(U32(size), kp)
			ADDQ(U32(4*size), np)
		})
		ADDQ(r.stride3, kp)
		VMOVUPS(s.fold4(acc), at(sp, 0))
		ADDQ(U32(16), sp)
	})
	VZEROUPPER()
	RET()
}

// shiftBy divides r by a power of two.
func shiftBy(r reg.Register, by int) {
	for shift := uint8(1); ; shift++ {
		if 1<<shift == by {
			SHRQ(U8(shift), r)
			return
		}
	}
}

// fold4 sums the 16 lanes of each of four rows: lane l takes lane l+8, then
// neighbours meet, then neighbouring pairs, then the two halves.
func (s isa) fold4(acc [][]reg.VecVirtual) reg.VecVirtual {
	var y [4]reg.VecVirtual
	for i, a := range acc {
		y[i] = s.fold8(a)
	}
	s.neighbours(y[1], y[0])
	s.neighbours(y[3], y[2])
	s.neighbours(y[2], y[0])
	x, hi := y[0].AsX().(reg.VecVirtual), XMM()
	if s.width == 16 {
		VEXTRACTF32X4(U8(1), y[0], hi)
	} else {
		VEXTRACTF128(U8(1), y[0], hi)
	}
	VADDPS(hi, x, x)
	return x
}

// neighbours sets a to the sums of a's neighbours and of b's, as VHADDPS does,
// which knows only 16 registers.
func (s isa) neighbours(b, a reg.VecVirtual) {
	if s.width == 8 {
		VHADDPS(b, a, a)
		return
	}
	even := YMM()
	VSHUFPS(U8(0x88), b, a, even)
	VSHUFPS(U8(0xdd), b, a, a)
	VADDPS(a, even, a)
}

// fold8 adds lanes 8 to 15 to lanes 0 to 7.
func (s isa) fold8(a []reg.VecVirtual) reg.VecVirtual {
	y := a[0].AsY().(reg.VecVirtual)
	if s.width == 8 {
		VADDPS(a[1], y, y)
		return y
	}
	hi := YMM()
	VEXTRACTF64X4(U8(1), a[0], hi)
	VADDPS(hi, y, y)
	return y
}

// values writes Values<t>: four positions at a time pass over the output, so
// that memory is read in order whatever the head dim.
func (s isa) values(t dtype) {
	s.text("Values"+t.name, "func(y []float32, c float32, p []float32, values []byte, next *byte)", "is Pages.Values of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	steps := Load(Param("y").Len(), GP64())
	p := Load(Param("p").Base(), GP64())
	n := Load(Param("p").Len(), GP64())
	vp, rowBytes := Load(Param("values").Base(), GP64()), GP64()
	np := prefetchBase(vp)
	elems, size := t.step()
	shiftBy(steps, elems)
	IMUL3Q(U32(size), steps, rowBytes)
	r := strided(vp, rowBytes)
	each := func(name string, body func(y reg.Register)) {
		y, left := GP64(), GP64()
		MOVQ(yp, y)
		MOVQ(steps, left)
		countdown(name, left, func() {
			body(y)
			ADDQ(U32(elems*4), y)
		})
	}

	c := s.vec()
	VBROADCASTSS(paramAddr("c"), c)
	each("scale", func(y reg.Register) {
		for i := range elems / s.width {
			v := s.vec()
			VMULPS(at(y, i*s.width*4), c, v)
			VMOVUPS(v, at(y, i*s.width*4))
		}
	})
	elementLoops(n, []int{4, 1}, []ptr{{p, 4}}, func(rows int) {
		weight := s.vecs(rows)
		for i, w := range weight {
			VBROADCASTSS(at(p, 4*i), w)
		}
		each(label("dims", rows), func(y reg.Register) {
			prefetch(np, 0, rows*size)
			sum := s.vecs(elems / s.width)
			for j, a := range sum {
				VMOVUPS(at(y, j*s.width*4), a)
			}
			for i, w := range weight {
				for j, v := range s.loadElems(t, r.x(i, 0), elems) {
					pace(v, t.dotPace)
					VFMADD231PS(v, w, sum[j])
				}
			}
			for j, a := range sum {
				VMOVUPS(a, at(y, j*s.width*4))
			}
			ADDQ(U32(size), r.xp)
			ADDQ(U32(rows*size), np)
		})
		if rows == 4 {
			ADDQ(r.stride3, r.xp)
		}
	})
	VZEROUPPER()
	RET()
}

// paramAddr is where a parameter lies.
func paramAddr(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// scores4 writes Scores4: as many keys at a time as there are registers for
// their partial sums with four queries, then one by one.
func (s isa) scores4() {
	s.text("Scores4", "func(s []float32, stride, n int, q, keys []float32)",
		"is Attention.Scores4 of package kernel.")
	sp := Load(Param("s").Base(), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	q := Load(Param("q").Base(), GP64())
	steps := Load(Param("q").Len(), GP64())
	kp := Load(Param("keys").Base(), GP64())
	row := GP64() // bytes
	MOVQ(steps, row)
	SHRQ(U8(6), steps) // 16 dimensions of four queries
	SHLQ(U8(2), stride)
	qr, sr := strided(GP64(), row), strided(sp, stride)
	kr := rows4{xp: kp, stride: row, stride3: qr.stride3}

	tiles := []int{1}
	if s.width == 16 {
		tiles = []int{4, 1}
	}
	elementLoops(n, tiles, []ptr{{sp, 4}}, func(keys int) {
		acc := make([][][]reg.VecVirtual, keys) // [key][query][register]
		for k := range acc {
			acc[k] = make([][]reg.VecVirtual, 4)
			for i := range acc[k] {
				acc[k][i] = s.vecs(16 / s.width)
				s.zero(acc[k][i]...)
			}
		}
		left := GP64()
		MOVQ(q, qr.xp)
		MOVQ(steps, left)
		countdown(label("dims", keys), left, func() {
			for j := range 16 / s.width {
				key := s.vecs(keys)
				for k, v := range key {
					VMOVUPS(kr.x(k, j*s.width*4), v)
				}
				for i := range 4 {
					query := s.vec()
					VMOVUPS(qr.x(i, j*s.width*4), query)
					for k, v := range key {
						VFMADD231PS(v, query, acc[k][i][j])
					}
				}
			}
			ADDQ(U32(64), qr.xp)
			ADDQ(U32(64), kp)
		})
		for k := range acc {
			four := s.fold4(acc[k]) // of four queries
			VMOVSS(four, sr.x(0, 4*k))
			for i := 1; i < 4; i++ {
				VEXTRACTPS(U8(i), four, sr.x(i, 4*k))
			}
		}
		if keys == 4 {
			ADDQ(qr.stride3, kp)
		}
	})
	VZEROUPPER()
	RET()
}

// values4 writes Values4: columns of four outputs in blocks whose sums stay
// in registers over all positions.
func (s isa) values4() {
	s.text("Values4", "func(y, c, p []float32, stride, n int, values []float32)",
		"is Attention.Values4 of package kernel.")
	yp := Load(Param("y").Base(), GP64())
	cols := Load(Param("y").Len(), GP64())
	cp := Load(Param("c").Base(), GP64())
	p := Load(Param("p").Base(), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	vp := Load(Param("values").Base(), GP64())
	row := GP64() // bytes
	MOVQ(cols, row)
	SHRQ(U8(2), cols)
	SHLQ(U8(2), stride)
	yr, pr := strided(yp, row), strided(GP64(), stride)

	blocks := []int{16}
	if s.width == 16 {
		blocks = []int{64, 16}
	}
	elementLoops(cols, blocks, []ptr{{yp, 4}, {vp, 4}}, func(elems int) {
		var acc [4][]reg.VecVirtual
		for i := range acc {
			c := s.vec()
			VBROADCASTSS(at(cp, 4*i), c)
			acc[i] = s.vecs(elems / s.width)
			for j, a := range acc[i] {
				VMULPS(yr.x(i, j*s.width*4), c, a)
			}
		}
		rp, left := GP64(), GP64()
		MOVQ(vp, rp)
		MOVQ(p, pr.xp)
		MOVQ(n, left)
		countdown(label("rows", elems), left, func() {
			v := s.loadElems(f32, at(rp, 0), elems)
			for i := range acc {
				weight := s.vec()
				VBROADCASTSS(pr.x(i, 0), weight)
				for j, a := range acc[i] {
					VFMADD231PS(v[j], weight, a)
				}
			}
			ADDQ(row, rp)
			ADDQ(U32(4), pr.xp)
		})
		for i := range acc {
			for j, a := range acc[i] {
				VMOVUPS(a, yr.x(i, j*s.width*4))
			}
		}
	})
	VZEROUPPER()
	RET()
}
