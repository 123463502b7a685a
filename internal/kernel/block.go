package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	chunkBlocks = 16 // blocks of 32 elements that are summed side by side
	chunkElems  = chunkBlocks * tensor.QuantBlock
	// The parts of a chunk's record of activations, see Set.RoundX.
	roundScales = 512
	roundSums   = 576
	roundLeast  = 640
	roundBytes  = 704
)

// RoundXBytes is the size of the records of n activations, n a multiple of 32.
func RoundXBytes(n int) int { return (n + chunkElems - 1) / chunkElems * roundBytes }

// roundPlace is where the codes of a half of block b of a record are.
func roundPlace(b, half int) int { return b%4*128 + half*64 + b/4*16 }

// roundXBy makes a RoundX of what fills the records of whole blocks.
func roundXBy(blocks func(dst []byte, x []float32)) func([]byte, []float32) {
	return func(dst []byte, x []float32) {
		if end := RoundXBytes(len(x)); len(x)%chunkElems != 0 {
			clear(dst[end-roundBytes : end])
		}
		blocks(dst, x)
	}
}

func roundBlocks(dst []byte, x []float32) {
	for b := 0; len(x) >= tensor.QuantBlock; b++ {
		record, slot := dst[b/chunkBlocks*roundBytes:], b%chunkBlocks
		scale, inv, fine := scaleOf(x[:tensor.QuantBlock])
		var sums [2]int16
		for i, v := range x[:tensor.QuantBlock] {
			q := int32(0)
			if fine {
				q = int32(math.RoundToEven(float64(float32(v * inv))))
			}
			record[roundPlace(slot, i/16)+i%16] = byte(q)
			sums[i/16] += int16(q)
		}
		binary.LittleEndian.PutUint32(record[roundScales+4*slot:], math.Float32bits(scale))
		binary.LittleEndian.PutUint16(record[roundSums+4*slot:], uint16(sums[0]))
		binary.LittleEndian.PutUint16(record[roundSums+4*slot+2:], uint16(sums[1]))
		binary.LittleEndian.PutUint32(record[roundLeast+4*slot:], math.Float32bits(float32(int32(sums[0])+int32(sums[1]))*scale))
		x = x[tensor.QuantBlock:]
	}
}

// Residual sets y to what Set.RoundX leaves of x, a multiple of 32 elements.
func Residual(y, x []float32) {
	for len(x) >= tensor.QuantBlock {
		scale, inv, fine := scaleOf(x[:tensor.QuantBlock])
		for i, v := range x[:tensor.QuantBlock] {
			y[i] = 0
			if fine {
				y[i] = fma32(-float32(math.RoundToEven(float64(float32(v*inv)))), scale, v)
			}
		}
		x, y = x[tensor.QuantBlock:], y[tensor.QuantBlock:]
	}
}

// scaleOf is the scale of a block of activations and its inverse; fine is false
// where all codes are zero.
func scaleOf(x []float32) (scale, inv float32, fine bool) {
	top := math.Float32frombits(absMaxBits(x))
	scale, inv = top/127, 127/top
	fine = inv <= math.MaxFloat32
	switch {
	case !(top <= math.MaxFloat32):
		return float32(math.NaN()), inv, false
	case !fine:
		return 0, inv, false
	}
	return scale, inv, true
}

// part is 32 elements of a row of blocks: what is multiplied with the codes of a
// block of activations.
type part struct {
	codes [32]int32
	// scale is of each half of the codes, and least what is added to each product.
	scale, least [2]float32
}

// blockForm is how the twins read a type.
type blockForm struct {
	part   func(block []byte, b int) part // the b-th of a block
	halves bool                           // whose scales differ
	least  bool
}

var blockForms = map[tensor.DType]blockForm{
	tensor.Q8_0: {part: func(w []byte, _ int) (p part) {
		for j, q := range w[2:34] {
			p.codes[j] = int32(int8(q))
		}
		p.scale = [2]float32{float16(w), float16(w)}
		return p
	}},
	tensor.Q4_0: {part: func(w []byte, _ int) (p part) {
		p.nibbles(w[2:], float16(w), 8)
		return p
	}},
	tensor.Q4_1: {least: true, part: func(w []byte, _ int) (p part) {
		p.least[0] = float16(w[2:])
		p.nibbles(w[4:], float16(w), 0)
		return p
	}},
	tensor.Q5_0: {part: func(w []byte, _ int) (p part) {
		p.nibbles(w[6:], float16(w), 0)
		p.fifth(binary.LittleEndian.Uint32(w[2:]), -16)
		return p
	}},
	tensor.IQ4_NL: {part: func(w []byte, _ int) (p part) {
		p.nibbles(w[2:], float16(w), 0)
		p.look(&iq4)
		return p
	}},
	tensor.MXFP4: {part: func(w []byte, _ int) (p part) {
		bits := uint32(w[0]-1) << 23
		if w[0] < 2 {
			bits = 0x200000 << w[0]
		}
		p.nibbles(w[1:], math.Float32frombits(bits), 0)
		p.look(&fp4)
		return p
	}},
	tensor.Q4_K: {least: true, part: func(w []byte, b int) (p part) {
		p.superblock(w, w[16:], b)
		return p
	}},
	tensor.Q5_K: {least: true, part: func(w []byte, b int) (p part) {
		p.superblock(w, w[48:], b)
		for j := range p.codes {
			p.codes[j] += int32(w[16+j]>>b&1) << 4
		}
		return p
	}},
	tensor.Q5_1: {least: true, part: func(w []byte, _ int) (p part) {
		p.least[0] = float16(w[2:])
		p.nibbles(w[8:], float16(w), 0)
		p.fifth(binary.LittleEndian.Uint32(w[4:]), 0)
		return p
	}},
	tensor.IQ4_XS: {part: func(w []byte, b int) (p part) {
		s := w[4+b/2]>>(b%2*4)&15 | byte(binary.LittleEndian.Uint16(w[2:])>>(2*b)&3)<<4
		p.nibbles(w[8+16*b:], float16(w)*float32(int(s)-32), 0)
		p.look(&iq4)
		return p
	}},
	tensor.Q2_K: {halves: true, least: true, part: func(w []byte, b int) (p part) {
		for j := range p.codes {
			p.codes[j] = int32(w[16+b/4*32+j] >> (b % 4 * 2) & 3)
		}
		for half := range p.scale {
			s := w[2*b+half]
			p.scale[half], p.least[half] = float16(w[80:])*float32(s&15), -(float16(w[82:]) * float32(s>>4))
		}
		return p
	}},
	tensor.Q3_K: {halves: true, part: func(w []byte, b int) (p part) {
		for j := range p.codes {
			p.codes[j] = int32(w[32+b/4*32+j]>>(b%4*2)&3|w[j]>>b&1<<2) - 4
		}
		for half := range p.scale {
			g := 2*b + half
			s := w[96+g%8]>>(g/8*4)&15 | w[104+g%4]>>(g/4*2)&3<<4
			p.scale[half] = float16(w[108:]) * float32(int(s)-32)
		}
		return p
	}},
	tensor.Q6_K: {halves: true, part: func(w []byte, b int) (p part) {
		d := float16(w[208:])
		for j := range p.codes {
			low, high := w[b/4*64+b%2*32+j]>>(b%4/2*4)&15, w[128+b/4*32+j]>>(b%4*2)&3
			p.codes[j] = int32(low|high<<4) - 32
		}
		for half := range p.scale {
			p.scale[half] = d * float32(int8(w[192+2*b+half]))
		}
		return p
	}},
}

// What the codes of IQ4_NL and MXFP4 stand for, the latter twice: package tensor
// has them.
var (
	iq4 = [16]int32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4 = [16]int32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

func float16(b []byte) float32 { return tensor.F16ToF32(binary.LittleEndian.Uint16(b)) }

// nibbles sets the codes to those of sixteen bytes, less zero.
func (p *part) nibbles(q []byte, scale float32, zero int32) {
	for j, v := range q[:16] {
		p.codes[j], p.codes[16+j] = int32(v&15)-zero, int32(v>>4)-zero
	}
	p.scale = [2]float32{scale, scale}
}

// fifth adds the fifth bits and zero.
func (p *part) fifth(bits uint32, zero int32) {
	for j := range p.codes {
		p.codes[j] += int32(bits>>j&1)<<4 + zero
	}
}

func (p *part) look(table *[16]int32) {
	for j, c := range p.codes {
		p.codes[j] = table[c]
	}
}

// superblock reads part b of a block of Q4_K or Q5_K, whose nibbles are q.
func (p *part) superblock(w, q []byte, b int) {
	s, l := w[4+b%4]&63, w[8+b%4]&63
	if b >= 4 {
		s, l = w[8+b]&15|w[b]>>6<<4, w[8+b]>>4|w[4+b]>>6<<4
	}
	for j := range p.codes {
		p.codes[j] = int32(q[b/2*32+j] >> (b % 2 * 4) & 15)
	}
	scale := float16(w) * float32(s)
	p.scale, p.least[0] = [2]float32{scale, scale}, -(float16(w[2:]) * float32(l))
}

// blockRows is the twins for rows of blocks of type dt.
func blockRows(dt tensor.DType) Rows {
	dot := func(w, x []byte, _ *byte) float32 { return dotParts(w, x, dt, blockForms[dt]) }
	return Rows{Dot: dot, Dot4: dot4(dot), MatVec: matVec(dot)}
}

func goBlocks() map[tensor.DType]*Rows {
	all := map[tensor.DType]*Rows{}
	for dt := range blockForms {
		k := blockRows(dt)
		all[dt] = &k
	}
	return all
}

func dotParts(w, x []byte, dt tensor.DType, form blockForm) float32 {
	var acc [lanes]float32 // the first sixteen
	parts := dt.BlockElems() / tensor.QuantBlock
	for b := range len(w) / dt.BlockBytes() * parts {
		p := form.part(w[b/parts*dt.BlockBytes():][:dt.BlockBytes()], b%parts)
		record, slot := x[b/chunkBlocks*roundBytes:], b%chunkBlocks
		dx := math.Float32frombits(binary.LittleEndian.Uint32(record[roundScales+4*slot:]))
		var products [2]int32
		for j, c := range p.codes {
			products[j/16] += c * int32(int8(record[roundPlace(slot, j/16)+j%16]))
		}
		a := &acc[slot]
		if form.halves {
			for half := range 2 {
				*a = fma32(float32(products[half]), p.scale[half]*dx, *a)
			}
			for half := 0; form.least && half < 2; half++ {
				sum := int16(binary.LittleEndian.Uint16(record[roundSums+4*slot+2*half:]))
				*a = fma32(p.least[half], float32(sum)*dx, *a)
			}
			continue
		}
		*a = fma32(float32(products[0]+products[1]), p.scale[0]*dx, *a)
		if form.least {
			*a = fma32(p.least[0], math.Float32frombits(binary.LittleEndian.Uint32(record[roundLeast+4*slot:])), *a)
		}
	}
	return halve(&acc)
}
