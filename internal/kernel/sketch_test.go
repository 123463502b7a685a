package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Codes come back from where PackSketch3 puts them, whatever lies in the last
// block's rest.
func TestPackSketch3(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codes := rapid.SliceOfN(rapid.Map(rapid.Byte(), func(b byte) byte { return b & 7 }), 0, 700).Draw(t, "codes")
		dst := slices.Repeat([]byte{0xff}, Sketch3Bytes(len(codes)))
		PackSketch3(dst, codes)
		for k := range len(dst) / sketch3Bytes * sketch3Codes {
			want := byte(0)
			if k < len(codes) {
				want = codes[k]
			}
			if got := sketch3Code(dst[k/sketch3Codes*sketch3Bytes:], k%sketch3Codes); got != want {
				t.Fatalf("code %d: got %d, want %d", k, got, want)
			}
		}
	})
}

// The layout is what files hold: one code at a time, bit for bit.
func TestSketch3Layout(t *testing.T) {
	for _, c := range []struct {
		k     int
		code  byte
		at    []int
		value []byte
		size  int
	}{
		{0, 7, []int{0, 64}, []byte{3, 1}, 96},
		{128 + 96 + 5, 2, []int{37}, []byte{0x80}, 96},
		{256 + 161, 5, []int{96 + 33, 96 + 65}, []byte{4, 0x20}, 192},
	} {
		codes := make([]byte, c.k+1)
		codes[c.k] = c.code
		got, want := make([]byte, Sketch3Bytes(len(codes))), make([]byte, c.size)
		for i, at := range c.at {
			want[at] = c.value[i]
		}
		if PackSketch3(got, codes); !slices.Equal(got, want) {
			t.Errorf("code %d: got %v, want %v", c.k, got, want)
		}
	}
}

// TestSketches compares with a sum over codes laid out as documented, extremes
// included. A block that is not whole counts for nothing.
func TestSketches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, k := range []struct {
			bits, block, size int
			pack              func(dst, codes []byte)
			dot               func(w []byte, x []int8) int32
			dot4              func(w []byte, x []int8, stride int) [4]int32
		}{
			{3, sketch3Codes, sketch3Bytes, PackSketch3, s.DotU3S8, s.Dot4U3S8},
			{4, 64, sketchBytes, func(dst, codes []byte) {
				for k, c := range codes {
					dst[k/64*32+k%32] |= c << (k % 64 / 32 * 4)
				}
			}, s.DotU4S8, s.Dot4U4S8},
		} {
			top := byte(1<<k.bits - 1)
			for name, fill := range map[string]func() (u byte, x int8){
				"random":   func() (byte, int8) { return byte(rng.IntN(1 << k.bits)), int8(rng.IntN(255) - 127) },
				"largest":  func() (byte, int8) { return top, 127 },
				"smallest": func() (byte, int8) { return top, -127 },
			} {
				for blocks := range 40 {
					n, stride := blocks*k.block, (blocks+1)*k.block
					codes, x := make([]byte, n), make([]int8, 4*stride)
					var want [4]int32
					for c := range codes {
						for i := range want {
							codes[c], x[i*stride+c] = fill()
						}
						for i := range want {
							want[i] += int32(codes[c]) * int32(x[i*stride+c])
						}
					}
					w := make([]byte, blocks*k.size)
					k.pack(w, codes)
					w = append(w, slices.Repeat([]byte{0xff}, blocks%k.size)...)
					if got := k.dot(w, x); got != want[0] {
						t.Errorf("%s, %d bits, %s, %d blocks: got %d, want %d", s.Name, k.bits, name, blocks, got, want[0])
					}
					if got := k.dot4(w, x, stride); got != want {
						t.Errorf("%s, %d bits, %s, %d blocks, four: got %v, want %v", s.Name, k.bits, name, blocks, got, want)
					}
				}
			}
		}
	}
}

func TestQuantizeS8(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tests := []struct {
		name  string
		x     []float32
		want  []int8
		scale float32
	}{
		{"none", nil, nil, 0},
		{"zeros", []float32{0, float32(math.Copysign(0, -1))}, []int8{0, 0}, 0},
		{"whole", []float32{127, -127, 3, -64}, []int8{127, -127, 3, -64}, 1},
		{"half to even", []float32{127, 0.5, 1.5, 2.5, -0.5, -1.5}, []int8{127, 0, 2, 2, 0, -2}, 1},
		{"scaled", []float32{-254, 2, 3}, []int8{-127, 1, 2}, 2},
		{"too small", []float32{1e-38, -1e-38}, []int8{0, 0}, 0},
		{"infinite", []float32{1, -inf}, []int8{0, 0}, nan},
		{"not a number", []float32{nan, 1}, []int8{0, 0}, nan},
	}
	for _, s := range All() {
		for _, tt := range tests {
			for _, pad := range []int{0, 7, 40} { // so that wide and single steps both see it
				x := append(make([]float32, pad), tt.x...)
				want := append(make([]int8, pad), tt.want...)
				var wantSum int32
				for _, v := range want {
					wantSum += int32(v)
				}
				got := slices.Repeat([]int8{99}, len(x))
				scale, sum := s.QuantizeS8(got, x)
				same := scale == tt.scale || scale != scale && tt.scale != tt.scale
				if !slices.Equal(got, want) || !same || sum != wantSum {
					t.Errorf("%s, %s after %d zeros: got %v scale %v sum %d, want %v scale %v sum %d",
						s.Name, tt.name, pad, got, scale, sum, want, tt.scale, wantSum)
				}
			}
		}
	}
}
