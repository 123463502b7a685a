package tensor

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// swap is 0 to 31 but for two values of one magnitude, whose order decides the
// sign of Q4_0's scale.
func swap(i int, first float32) float32 {
	switch i {
	case 3:
		return first
	case 9:
		return -first
	}
	return float32(i)
}

// blocks are what the gguf package for Python (0.19.0, gguf.quants.quantize)
// makes of 32 values.
var blocks = []struct {
	name   string
	value  func(i int) float32
	q8, q4 string // hexadecimal
}{
	{"spread", func(i int) float32 { return float32((i*7919+13)%2003-1001) / 64 },
		"c82f81776b5f53473b2f23170bfff3e7dbcfc3b7ab9f93877d7165594d4135291d11",
		"b83f403f3f2e1d0cfcfbeae9d9c8b7b6a695"},
	{"ties", func(i int) float32 { return float32(i-16) / 2 },
		"082c81899199a1a9b1b9c0c8d0d8e0e8f0f8000810182028303840474f575f676f77",
		"003c809191a2a2b3b3c4c4d5d5e6e6f7f7f8"},
	{"negative first", func(i int) float32 { return swap(i, -127) },
		"003c0001028104050607087f0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"f04b9898989098989898a9afa9a9a9a9a9a9"},
	{"positive first", func(i int) float32 { return swap(i, 127) },
		"003c0001027f0405060708810a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"f0cb7878787078787878676f676767676767"},
	{"halves", func(i int) float32 { return max(float32(i)-15.5, float32(1-i)*200-73) },
		"003c7ff1f2f3f4f5f6f7f8f9fafbfcfdfeff0102030405060708090a0b0c0d0e0f10",
		"f0cb80898989898989897878787878787878"},
	{"zero", func(int) float32 { return 0 },
		"00000000000000000000000000000000000000000000000000000000000000000000",
		"008088888888888888888888888888888888"},
	{"small", func(i int) float32 { return float32(i*31%17-8) * 0x1p-24 },
		"0000815f3000d0a17f4f20f0c0916f4010e0b1815f3000d0a17f4f20f0c0916f4010",
		"0100300eebb885522ffddaa774411ffcc996"},
	{"large", func(i int) float32 { return float32(i*31%17-8) * 4096 },
		"085c815f3000d0a17f4f20f0c0916f4010e0b1815f3000d0a17f4f20f0c0916f4010",
		"006c300eebb885522ffddaa774411ffcc996"},
}

func TestBlocksAreGGUFs(t *testing.T) {
	for _, b := range blocks {
		v := make([]float32, QuantBlock)
		for i := range v {
			v[i] = b.value(i)
		}
		for d, want := range map[DType]string{Q8_0: b.q8, Q4_0: b.q4} {
			got := make([]byte, d.RowBytes(QuantBlock))
			Encode(got, v, d)
			if hex.EncodeToString(got) != want {
				t.Errorf("%s: %v: got %x, want %s", b.name, d, got, want)
			}
		}
	}
}

// Values come back by the format's definition, which fixes where in a block
// each element lies.
func TestDecodeBlock(t *testing.T) {
	q8, q4 := make([]byte, 2*q8Bytes), make([]byte, 2*q4Bytes)
	rapid.Check(t, func(t *rapid.T) {
		copy(q8, rapid.SliceOfN(rapid.Byte(), len(q8), len(q8)).Draw(t, "q8"))
		copy(q4, rapid.SliceOfN(rapid.Byte(), len(q4), len(q4)).Draw(t, "q4"))
		v8, v4 := make([]float32, 2*QuantBlock), make([]float32, 2*QuantBlock)
		Decode(v8, q8, Q8_0)
		Decode(v4, q4, Q4_0)
		for i := range v8 {
			b, j := i/QuantBlock, i%QuantBlock
			s8 := F16ToF32(binary.LittleEndian.Uint16(q8[b*34:]))
			s4 := F16ToF32(binary.LittleEndian.Uint16(q4[b*18:]))
			if want := s8 * float32(int8(q8[b*34+2+j])); !same(v8[i], want) {
				t.Fatalf("q8_0 element %d: got %v, want %v", i, v8[i], want)
			}
			nibble := q4[b*18+2+j%16] >> (j / 16 * 4) & 15
			if want := s4 * (float32(nibble) - 8); !same(v4[i], want) {
				t.Fatalf("q4_0 element %d: got %v, want %v", i, v4[i], want)
			}
		}
	})
}

func same(a, b float32) bool { return a == b || a != a && b != b }

// An element is off by half a step at most, and by the scale's own rounding
// times the code; in Q4_0 the far end is off by a step.
func TestBlockError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Float32Range(-1000, 1000), QuantBlock, QuantBlock).Draw(t, "v")
		amax := 0.0
		for _, f := range v {
			amax = max(amax, math.Abs(float64(f)))
		}
		const subnormal = 0x1p-25 // half the least step of the scale
		for d, bound := range map[DType]float64{
			Q8_0: amax/127*0.501 + amax*0x1p-11 + 127*subnormal,
			Q4_0: amax/8*1.001 + amax*0x1p-11 + 8*subnormal,
		} {
			b, got := make([]byte, d.RowBytes(QuantBlock)), make([]float32, QuantBlock)
			Encode(b, v, d)
			Decode(got, b, d)
			for i := range v {
				if off := math.Abs(float64(got[i] - v[i])); off > bound {
					t.Fatalf("%v: %v came back as %v, off by %g, want at most %g", d, v[i], got[i], off, bound)
				}
			}
		}
	})
}

// What is not finite does not pass for a number, what is too large becomes
// infinite or NaN, and what has no inverse is zero.
func TestBlockOddValues(t *testing.T) {
	inf := float32(math.Inf(1))
	for d := range DType(DTypes) {
		if !d.Quantised() || !d.Encodes() {
			continue
		}
		n := d.BlockElems()
		v, b := make([]float32, 2*n), make([]byte, d.RowBytes(2*n))
		through := func() {
			Encode(b, v, d)
			Decode(v, b, d)
		}
		for _, odd := range []float32{inf, -inf, float32(math.NaN())} {
			clear(v)
			v[5], v[n+7] = 1, odd
			through()
			for i, f := range v {
				if bad := f != f; bad != (i >= n) {
					t.Errorf("%v: block with %v: element %d came back as %v", d, odd, i, f)
					break
				}
			}
		}
		for _, large := range []float32{1e12, -1e30, math.MaxFloat32} {
			clear(v)
			v[5], v[n+7] = 1, large
			through()
			if Finite(b, d) || !Finite(b[:d.BlockBytes()], d) {
				t.Errorf("%v: got a finite block for %v, or none for 1", d, large)
			}
		}
		for _, tiny := range []float32{0, math.SmallestNonzeroFloat32, -1e-30} {
			clear(v)
			v[3], v[n+9] = tiny, -tiny
			through()
			for i, f := range v {
				if f != 0 {
					t.Errorf("%v: block of %v: element %d came back as %v", d, tiny, i, f)
					break
				}
			}
		}
	}
}

func TestOfRow(t *testing.T) {
	for _, c := range []struct {
		d    DType
		n    int
		want DType
	}{
		{Q8_0, 64, Q8_0}, {Q4_0, 32, Q4_0}, {Q8_0, 48, F16}, {Q4_0, 1, F16}, {F32, 48, F32}, {BF16, 64, BF16},
		{Q4_K, 512, Q4_K}, {Q4_K, 640, Q5_0}, {Q5_K, 32, Q5_1}, {Q6_K, 576, Q8_0}, {IQ4_XS, 128, Q4_0}, {Q4_K, 100, F16}, {DType(99), 3, DType(99)},
	} {
		if got := c.d.OfRow(c.n); got != c.want {
			t.Errorf("%v.OfRow(%d): got %v, want %v", c.d, c.n, got, c.want)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	v := make([]float32, 4096)
	for d := range DType(DTypes) {
		b.Run(d.String(), func(b *testing.B) {
			src := make([]byte, d.RowBytes(len(v)))
			b.SetBytes(int64(4 * len(v)))
			for b.Loop() {
				Decode(v, src, d)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	v := make([]float32, 4096)
	for i := range v {
		v[i] = float32(i*7919%2003-1001) / 1024
	}
	for _, d := range []DType{Q8_0, Q4_0, Q5_0, Q4_K, Q6_K} {
		b.Run(d.String(), func(b *testing.B) {
			out := make([]byte, d.RowBytes(len(v)))
			b.SetBytes(int64(4 * len(v)))
			for b.Loop() {
				Encode(out, v, d)
			}
		})
	}
}
