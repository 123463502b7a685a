package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Codes come back from their planes, whatever lies in the last block's rest.
func TestPackPlanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(1, MostPlanes).Draw(t, "bits")
		codes := rapid.SliceOfN(rapid.Map(rapid.Byte(), func(b byte) byte { return b & (1<<bits - 1) }), 0, 700).Draw(t, "codes")
		dst := slices.Repeat([]byte{0xff}, PlaneBytes(len(codes), bits))
		PackPlanes(dst, codes, bits)
		for k := range len(dst) * 8 / bits {
			want := byte(0)
			if k < len(codes) {
				want = codes[k]
			}
			if got := planeCode(dst[k/256*bits*32:], k%256, bits); got != want {
				t.Fatalf("%d bits: code %d: got %d, want %d", bits, k, got, want)
			}
		}
	})
}

// The layout is what files hold: one code at a time, bit for bit.
func TestPlaneLayout(t *testing.T) {
	for _, c := range []struct {
		bits, k   int
		code      byte
		at        []int
		value     []byte
		totalSize int
	}{
		{1, 0, 1, []int{0}, []byte{1}, 32},
		{1, 255, 1, []int{31}, []byte{0x80}, 32},
		{1, 256 + 33, 1, []int{33}, []byte{2}, 64},
		{2, 0, 3, []int{0}, []byte{3}, 64},
		{2, 128 + 96 + 5, 2, []int{37}, []byte{0x80}, 64},
		{3, 0, 7, []int{0, 64}, []byte{3, 1}, 96},
		{3, 256 + 161, 5, []int{96 + 33, 96 + 65}, []byte{4, 0x20}, 192},
	} {
		codes := make([]byte, c.k+1)
		codes[c.k] = c.code
		got, want := make([]byte, PlaneBytes(len(codes), c.bits)), make([]byte, c.totalSize)
		for i, at := range c.at {
			want[at] = c.value[i]
		}
		if PackPlanes(got, codes, c.bits); !slices.Equal(got, want) {
			t.Errorf("%d bits, code %d: got %v, want %v", c.bits, c.k, got, want)
		}
	}
}

// Every set gives the sum of what was packed, extremes included, and reads no
// block that is not whole.
func TestDotPlanes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for bits := 1; bits <= MostPlanes; bits++ {
		top := byte(1<<bits - 1)
		fills := map[string]func() (u byte, x int8){
			"random":   func() (byte, int8) { return byte(rng.IntN(1 << bits)), int8(rng.IntN(255) - 127) },
			"largest":  func() (byte, int8) { return top, 127 },
			"smallest": func() (byte, int8) { return top, -127 },
		}
		for name, fill := range fills {
			for blocks := range 20 {
				n := blocks * planeBlock
				stride := n + planeBlock
				codes, x := make([]byte, n), make([]int8, 4*stride)
				var want [4]int32
				for k := range codes {
					for i := range want {
						codes[k], x[i*stride+k] = fill()
					}
					for i := range want {
						want[i] += int32(codes[k]) * int32(x[i*stride+k])
					}
				}
				w := slices.Repeat([]byte{0xff}, PlaneBytes(n, bits)+blocks%(32*bits))
				PackPlanes(w[:PlaneBytes(n, bits)], codes, bits)
				for _, s := range All() {
					at := fmt.Sprintf("%s, %d bits, %s, %d blocks", s.Name, bits, name, blocks)
					if got := s.DotPlanesS8[bits-1](w, x); got != want[0] {
						t.Errorf("%s: got %d, want %d", at, got, want[0])
					}
					if got := s.Dot4PlanesS8[bits-1](w, x, stride); got != want {
						t.Errorf("%s, four: got %v, want %v", at, got, want)
					}
				}
			}
		}
	}
}

// BenchmarkSketchRows multiplies the rows of a layer of 256 x 1024, which stay
// in the cache, by each width.
func BenchmarkSketchRows(b *testing.B) {
	const d, rows = 256, 1024
	x := make([]int8, 4*d)
	s := Best()
	run := func(name string, size int, dot func([]byte, []int8) int32) {
		w := make([]byte, rows*size)
		b.Run(name, func(b *testing.B) {
			sum := int32(0)
			for b.Loop() {
				for r := range rows {
					sum += dot(w[r*size:(r+1)*size], x)
				}
			}
			_ = sum
		})
	}
	run("4", d/2, s.DotU4S8)
	for i, dot := range s.DotPlanesS8 {
		run(fmt.Sprint(i+1), PlaneBytes(d, i+1), dot)
	}
}
