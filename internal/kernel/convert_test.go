package kernel

import (
	"math"
	"math/big"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
	"pgregory.net/rapid"
)

// f16Value is the value of a finite float16 by the definition of IEEE 754.
func f16Value(h uint16) float64 {
	exp, frac := int(h>>10&31), float64(h&0x3ff)
	v := math.Ldexp(frac, -24)
	if exp > 0 {
		v = math.Ldexp(1024+frac, exp-25)
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}

// TestF16All walks every float16: its value, its way back, and the rounding
// of what lies between it and its neighbour.
func TestF16All(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := tensor.F16ToF32(h)
		switch finite, frac := h&0x7c00 != 0x7c00, h&0x3ff; {
		case finite:
			if v := float64(f); v != f16Value(h) || math.Signbit(v) != (h>>15 == 1) {
				t.Fatalf("F16ToF32(%#04x) = %v, want %v", h, f, f16Value(h))
			}
		case frac == 0:
			if !math.IsInf(float64(f), 1-2*int(h>>15)) {
				t.Fatalf("F16ToF32(%#04x) = %v, want infinity", h, f)
			}
		default:
			if f == f || tensor.F32ToF16(f) != h|0x200 {
				t.Fatalf("F16ToF32(%#04x) = %v and back %#04x, want NaN and %#04x", h, f, tensor.F32ToF16(f), h|0x200)
			}
			continue
		}
		if back := tensor.F32ToF16(f); back != h {
			t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", f, back, h)
		}
		if h&0x7fff >= 0x7c00 {
			continue
		}
		// The next float16 away from zero; beyond the largest it is 65536, which
		// rounds to infinity.
		up := math.Copysign(65536, f16Value(h))
		if h&0x7fff < 0x7bff {
			up = f16Value(h + 1)
		}
		mid := float32((f16Value(h) + up) / 2) // exact
		toZero := math.Nextafter32(mid, 0)
		away := math.Nextafter32(mid, float32(up))
		for _, c := range []struct {
			f    float32
			want uint16
		}{{toZero, h}, {mid, h + h&1}, {away, h + 1}} {
			if got := tensor.F32ToF16(c.f); got != c.want {
				t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", c.f, got, c.want)
			}
		}
	}
}

func TestBF16All(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := tensor.BF16ToF32(h)
		if math.Float32bits(f) != uint32(h)<<16 {
			t.Fatalf("BF16ToF32(%#04x) = %#08x", h, math.Float32bits(f))
		}
		want := h
		if f != f {
			want |= 0x40
		}
		if got := tensor.F32ToBF16(f); got != want {
			t.Fatalf("F32ToBF16(tensor.BF16ToF32(%#04x)) = %#04x, want %#04x", h, got, want)
		}
		if h&0x7f80 == 0x7f80 {
			continue
		}
		for _, c := range []struct {
			low  uint32
			want uint16
		}{{0x7fff, h}, {0x8000, h + h&1}, {0x8001, h + 1}} {
			f := math.Float32frombits(uint32(h)<<16 | c.low)
			if got := tensor.F32ToBF16(f); got != c.want {
				t.Fatalf("F32ToBF16(%v) = %#04x, want %#04x", f, got, c.want)
			}
		}
	}
}

// TestSlicesAll converts every 16-bit pattern through every set, as values and
// as the upper half of float32 with several lower halves.
func TestSlicesAll(t *testing.T) {
	const n = 1 << 16
	h, got := make([]uint16, n), make([]uint16, n)
	for i := range h {
		h[i] = uint16(i)
	}
	f := make([]float32, n)
	for _, s := range All() {
		for name, c := range map[string]struct {
			decode func([]float32, []uint16)
			encode func([]uint16, []float32) // nil: no kernel does
			to32   func(uint16) float32
			from32 func(float32) uint16
		}{
			"F16":  {s.DecodeF16, s.EncodeF16, tensor.F16ToF32, tensor.F32ToF16},
			"BF16": {s.DecodeBF16, nil, tensor.BF16ToF32, nil},
		} {
			c.decode(f, h)
			for i, v := range f {
				if math.Float32bits(v) != math.Float32bits(c.to32(h[i])) {
					t.Fatalf("%s Decode%s(%#04x) = %#08x, want %#08x", s.Name, name, h[i], math.Float32bits(v), math.Float32bits(c.to32(h[i])))
				}
			}
			if c.encode == nil {
				continue
			}
			for _, low := range []uint32{0, 1, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
				for i := range f {
					f[i] = math.Float32frombits(uint32(i)<<16 | low)
				}
				c.encode(got, f)
				for i, v := range got {
					if v != c.from32(f[i]) {
						t.Fatalf("%s Encode%s(%#08x) = %#04x, want %#04x", s.Name, name, math.Float32bits(f[i]), v, c.from32(f[i]))
					}
				}
			}
		}
	}
}

// exactFMA rounds a*b + c once, by arbitrary precision.
func exactFMA(a, b, c float32) float32 {
	sum := new(big.Float).SetPrec(2000).SetFloat64(float64(a) * float64(b))
	sum.Add(sum, big.NewFloat(float64(c)))
	f, _ := sum.Float32()
	return f
}

// TestFMA32 draws addends near ties of the product, where rounding twice goes
// wrong, and subnormal results.
func TestFMA32(t *testing.T) {
	finite := rapid.Custom(func(t *rapid.T) float32 {
		exp := rapid.OneOf(rapid.Uint32Range(0, 30), rapid.Uint32Range(60, 70), rapid.Uint32Range(120, 134), rapid.Uint32Range(0, 254)).Draw(t, "exp")
		frac := rapid.OneOf(rapid.Uint32Range(0, 1<<23-1), rapid.SampledFrom([]uint32{0, 1, 2, 1 << 22, 1<<23 - 1})).Draw(t, "frac")
		return math.Float32frombits(rapid.Uint32Range(0, 1).Draw(t, "sign")<<31 | exp<<23 | frac)
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := finite.Draw(t, "a"), finite.Draw(t, "b"), finite.Draw(t, "c")
		got, want := fma32(a, b, c), exactFMA(a, b, c)
		if got != want {
			t.Fatalf("fma32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	})
	// 24929*673 is 2^24+1, a tie between two float32; the addend is lost in
	// float64 and decides it.
	const tie = 1 << 24
	for _, tt := range []struct{ a, b, c, want float32 }{
		{24929, 673, 0, tie},
		{24929, 673, 0x1p-40, tie + 2},
		{24929, 673, -0x1p-40, tie},
		{-24929, 673, 0x1p-40, -tie},
		{-24929, 673, -0x1p-40, -tie - 2},
		{0x1p-75, 0x1p-75, 0x1p-126, 0x1p-126},
		{0x1p-75, 0x1.8p-75, 0, 0x1p-149},
		{0x1p-75, 0x1p-75, 0x1p-149, 0x1p-148},
	} {
		if got := fma32(tt.a, tt.b, tt.c); got != tt.want {
			t.Errorf("fma32(%x, %x, %x) = %x, want %x", tt.a, tt.b, tt.c, got, tt.want)
		}
	}
}
