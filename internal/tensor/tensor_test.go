package tensor

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every binary16 survives the way to float32 and back, and widening agrees
// with the definition (-1)^s * 2^(e-15) * (1 + m/1024).
func TestF16AllValues(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		exp, man := int(h>>10)&0x1f, float64(h&0x3ff)
		if exp == 0x1f && man != 0 {
			if f == f {
				t.Fatalf("%#04x: got %v, want NaN", h, f)
			}
			if g := F32ToF16(f); F16ToF32(g) == F16ToF32(g) {
				t.Fatalf("%#04x: NaN narrowed to %#04x", h, g)
			}
			continue
		}
		want := math.Ldexp(1+man/1024, exp-15)
		switch exp {
		case 0:
			want = math.Ldexp(man, -24)
		case 0x1f:
			want = math.Inf(1)
		}
		if h&0x8000 != 0 {
			want = -want
		}
		if float64(f) != want {
			t.Fatalf("%#04x: got %v, want %v", h, f, want)
		}
		if g := F32ToF16(f); g != h {
			t.Fatalf("%#04x: came back as %#04x", h, g)
		}
	}
}

// Narrowing picks the nearest neighbour, the even one on a tie.
func TestNarrowNearestEven(t *testing.T) {
	kinds := []struct {
		name   string
		narrow func(float32) uint16
		widen  func(uint16) float32
		max    float64
	}{
		{"f16", F32ToF16, F16ToF32, 65504},
		{"bf16", F32ToBF16, BF16ToF32, math.MaxFloat32 * (1 - 1.0/512)},
	}
	for _, k := range kinds {
		t.Run(k.name, rapid.MakeCheck(func(t *rapid.T) {
			v := rapid.Float32Range(float32(-k.max), float32(k.max)).Draw(t, "v")
			if rapid.Bool().Draw(t, "small") {
				v = float32(math.Ldexp(float64(v), -120))
			}
			h := k.narrow(v)
			d := math.Abs(float64(k.widen(h)) - float64(v))
			for _, n := range []uint16{h - 1, h + 1} {
				w := float64(k.widen(n))
				if math.IsNaN(w) || math.IsInf(w, 0) {
					continue
				}
				dn := math.Abs(w - float64(v))
				if dn < d || dn == d && h&1 == 1 && n&0x7fff != 0x7fff {
					t.Fatalf("%v: got %#04x (off by %g), %#04x is off by %g", v, h, d, n, dn)
				}
			}
		}))
	}
}

func TestNarrowEdges(t *testing.T) {
	for _, c := range []struct {
		v    float32
		f16  uint16
		bf16 uint16
	}{
		{0, 0, 0},
		{float32(math.Copysign(0, -1)), 0x8000, 0x8000},
		{1, 0x3c00, 0x3f80},
		{65504, 0x7bff, 0x4780},
		{65519.996, 0x7bff, 0x4780},
		{65520, 0x7c00, 0x4780},
		{float32(math.Inf(-1)), 0xfc00, 0xff80},
		{math.MaxFloat32, 0x7c00, 0x7f80},
		{float32(math.Ldexp(1, -25)), 0, 0x3300},
		{float32(math.Ldexp(1.5, -25)), 1, 0x3340},
	} {
		if g := F32ToF16(c.v); g != c.f16 {
			t.Errorf("F32ToF16(%v): got %#04x, want %#04x", c.v, g, c.f16)
		}
		if g := F32ToBF16(c.v); g != c.bf16 {
			t.Errorf("F32ToBF16(%v): got %#04x, want %#04x", c.v, g, c.bf16)
		}
	}
}

func TestDecodeEncode(t *testing.T) {
	for _, d := range []DType{F32, F16, BF16} {
		src := []float32{0, 1, -2.5, 0.15625, float32(math.Inf(1))}
		buf := make([]byte, d.RowBytes(len(src)))
		Encode(buf, src, d)
		got := make([]float32, len(src))
		Decode(got, buf, d)
		for i := range src {
			if got[i] != src[i] {
				t.Errorf("%v: element %d: got %v, want %v", d, i, got[i], src[i])
			}
		}
		if p, err := ParseDType(d.String()); err != nil || p != d {
			t.Errorf("ParseDType(%q): got %v, %v", d.String(), p, err)
		}
	}
	if _, err := ParseDType("i8"); err == nil {
		t.Error("ParseDType(i8): got no error")
	}
}

func TestDTypes(t *testing.T) {
	for _, c := range []struct {
		d        DType
		name     string
		valid    bool
		rowBytes int64 // of 3 elements
	}{
		{F32, "F32", true, 12},
		{F16, "F16", true, 6},
		{BF16, "BF16", true, 6},
		{Q8_0, "Q8_0", true, 34},
		{Q4_0, "Q4_0", true, 18},
		{Q4_1, "Q4_1", true, 20},
		{Q5_0, "Q5_0", true, 22},
		{Q5_1, "Q5_1", true, 24},
		{Q2_K, "Q2_K", true, 84},
		{Q3_K, "Q3_K", true, 110},
		{Q4_K, "Q4_K", true, 144},
		{Q5_K, "Q5_K", true, 176},
		{Q6_K, "Q6_K", true, 210},
		{IQ4_NL, "IQ4_NL", true, 18},
		{IQ4_XS, "IQ4_XS", true, 136},
		{MXFP4, "MXFP4", true, 17},
		{DType(DTypes), "DType(16)", false, 0},
		{DType(255), "DType(255)", false, 0},
	} {
		if c.d.String() != c.name || c.d.Valid() != c.valid {
			t.Errorf("DType(%d): got %q, valid %v, want %q, %v", uint8(c.d), c.d.String(), c.d.Valid(), c.name, c.valid)
		}
		if c.valid && (c.d.RowBytes(3) != c.rowBytes || c.d.RowBytes(0) != 0) {
			t.Errorf("%v: got rows of %d bytes, want %d", c.d, c.d.RowBytes(3), c.rowBytes)
		}
		if _, err := ParseDType(c.name); (err == nil) != c.valid {
			t.Errorf("ParseDType(%q): got error %v", c.name, err)
		}
	}
	if n := F16.RowBytes(math.MaxInt32); n != 2*math.MaxInt32 {
		t.Errorf("a long row: got %d bytes", n)
	}
	for in, want := range map[string]DType{"f32": F32, "bf16": BF16, "Bf16": BF16, "f16": F16} {
		if got, err := ParseDType(in); err != nil || got != want {
			t.Errorf("ParseDType(%q): got %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := ParseDType("f64"); err == nil || err.Error() != `tensor: parse dtype: got "f64", want f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs or mxfp4` {
		t.Errorf("ParseDType(f64): got error %v", err)
	}
}

// Every bfloat16 survives the way to float32 and back; NaN stays NaN and turns
// quiet.
func TestBF16AllValues(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := BF16ToF32(h)
		if math.Float32bits(f) != uint32(h)<<16 {
			t.Fatalf("%#04x: got %v", h, f)
		}
		want := h
		if f != f {
			want |= 0x40
		}
		if got := F32ToBF16(f); got != want {
			t.Fatalf("%#04x: came back as %#04x, want %#04x", h, got, want)
		}
	}
	// A NaN whose payload lies in the lower half must not become infinity.
	if h := F32ToBF16(math.Float32frombits(0x7f800001)); h != 0x7fc0 {
		t.Errorf("NaN: got %#04x, want 0x7fc0", h)
	}
	if h := F32ToF16(math.Float32frombits(0xff800001)); h != 0xfe00 {
		t.Errorf("NaN: got %#04x, want 0xfe00", h)
	}
}

// Decode and Encode touch what they are given and no more, in little-endian.
func TestDecodeEncodeExtent(t *testing.T) {
	for d, want := range map[DType][]byte{
		F32:  {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 9, 9},
		F16:  {0, 0x3c, 0, 0xc0, 9, 9, 9, 9, 9, 9},
		BF16: {0x80, 0x3f, 0, 0xc0, 9, 9, 9, 9, 9, 9},
	} {
		buf := []byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9}
		Encode(buf, []float32{1, -2}, d)
		if !slices.Equal(buf, want) {
			t.Errorf("%v: got % x, want % x", d, buf, want)
		}
		got := []float32{7, 7, 7}
		Decode(got[:2], buf, d)
		if !slices.Equal(got, []float32{1, -2, 7}) {
			t.Errorf("%v: got %v back, want [1 -2 7]", d, got)
		}
	}
}
