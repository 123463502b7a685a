package tensor

import (
	"encoding/binary"
	"math"
	"testing"
)

// Finite agrees with the definition for every 16-bit pattern and for the
// patterns of float32 whose upper half is any, at every place of a word.
func TestFinite(t *testing.T) {
	for h := range 1 << 16 {
		for _, d := range []DType{F32, F16, BF16} {
			size := d.BlockBytes()
			b := make([]byte, 5*size)
			at := h % 5
			if d == F32 {
				binary.LittleEndian.PutUint32(b[at*size:], uint32(h)<<16|uint32(h)&1)
			} else {
				binary.LittleEndian.PutUint16(b[at*size:], uint16(h))
			}
			v := make([]float32, 5)
			Decode(v, b, d)
			f := float64(v[at])
			if got, want := Finite(b, d), !math.IsNaN(f) && !math.IsInf(f, 0); got != want {
				t.Fatalf("%v, pattern %#04x (%v): got %v, want %v", d, h, f, got, want)
			}
		}
	}
}

// No value of a block is odd unless Finite says so of one of its scales, and
// every scale counts.
func FuzzBlocks(f *testing.F) {
	for d := range DType(DTypes) {
		f.Add(uint8(d), []byte{0, 0x7c, 1, 2, 3})
		f.Add(uint8(d), make([]byte, 300))
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		d := DType(kind) % DType(DTypes)
		src := make([]byte, 2*d.BlockBytes())
		copy(src, data)
		v := make([]float32, 2*d.BlockElems())
		Decode(v, src, d)
		if !Finite(src, d) {
			return
		}
		for i, x := range v {
			if x-x != 0 && d != MXFP4 { // whose largest exponents are beyond float32
				t.Fatalf("%v: element %d is %v in blocks % x", d, i, x, src)
			}
		}
		if d.Encodes() { // as it is, and with what a block would not hold
			again := make([]byte, len(src))
			Encode(again, v, d)
			v[len(v)/3] *= float32(math.Inf(1))
			Encode(again, v, d)
			if Finite(again, d) {
				t.Fatalf("%v: %v passes for a number", d, v[len(v)/3])
			}
		}
	})
}
