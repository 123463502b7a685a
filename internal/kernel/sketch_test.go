package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDotU4S8 compares with a sum over the layout as documented, extremes
// included.
func TestDotU4S8(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fills := map[string]func() (u byte, x int8){
		"random":   func() (byte, int8) { return byte(rng.IntN(16)), int8(rng.IntN(255) - 127) },
		"largest":  func() (byte, int8) { return 15, 127 },
		"smallest": func() (byte, int8) { return 15, -127 },
	}
	for _, s := range All() {
		for name, fill := range fills {
			for blocks := range 70 {
				w, x := make([]byte, 32*blocks+blocks%32), make([]int8, 64*(blocks+1))
				var want int32
				for k := range 64 * blocks {
					u, v := fill()
					w[k/64*32+k%32] |= u << (k % 64 / 32 * 4)
					x[k] = v
					want += int32(u) * int32(v)
				}
				for i := 32 * blocks; i < len(w); i++ {
					w[i] = 0xff // a block that is not whole counts for nothing
				}
				if got := s.DotU4S8(w, x); got != want {
					t.Errorf("%s, %s, %d blocks: got %d, want %d", s.Name, name, blocks, got, want)
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
