package pack

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// unpackSketch writes the len(dst) elements that a sketch stands for.
func unpackSketch(dst []float32, src []byte, scale float32) {
	for i := range dst {
		b := src[i/SketchBlock*32+i%32]
		if i%SketchBlock >= 32 {
			b >>= 4
		}
		dst[i] = float32(int(b&15)-sketchZero) * scale
	}
}

// naiveLevel is the definition: clamp(round(w/scale)+8, 0..15).
func naiveLevel(w, scale float32) byte {
	if scale == 0 {
		return 8
	}
	return byte(min(max(math.Floor(float64(w)/float64(scale)+0.5)+8, 0), 15))
}

// element reads one level by the layout's definition.
func element(b []byte, i int) byte {
	c := b[i/64*32+i%32]
	if i%64 >= 32 {
		return c >> 4
	}
	return c & 15
}

func squaredError(w []float32, scale float32) (sum float64) {
	for _, v := range w {
		e := float64(v) - (float64(naiveLevel(v, scale))-8)*float64(scale)
		sum += e * e
	}
	return sum
}

// Every element has the level nearest to it, padding has level 8, unpacking
// gives (u-8)*scale, and the error is never above that of the plain scale.
func TestSketchLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		size := rapid.SampledFrom([]float32{0, 1e-38, 1e-3, 1, 1e6, 1e30}).Draw(t, "size")
		w := make([]float32, n)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for i := range w {
			w[i] = size * float32(rng.NormFloat64())
		}
		if rapid.Bool().Draw(t, "outlier") {
			w[rng.IntN(n)] *= 50
		}
		b := make([]byte, SketchBytes(n))
		scale := PackSketch(b, w)
		var largest float32
		for i, v := range w {
			largest = max(largest, v, -v)
			// Rounding of the quotient may tip a value that lies between two.
			if got, want := element(b, i), naiveLevel(v, scale); got != want {
				frac := math.Abs(math.Mod(math.Abs(float64(v)/float64(scale)), 1) - 0.5)
				if frac > 1e-4 {
					t.Fatalf("element %d = %v at scale %v: got level %d, want %d", i, v, scale, got, want)
				}
			}
		}
		for i := n; i < 2*len(b); i++ {
			if element(b, i) != 8 {
				t.Fatalf("padding element %d: got level %d, want 8", i, element(b, i))
			}
		}
		got := make([]float32, n)
		unpackSketch(got, b, scale)
		for i := range got {
			if want := float32(int(element(b, i))-8) * scale; got[i] != want {
				t.Fatalf("element %d: unpacked to %v, want %v", i, got[i], want)
			}
		}
		noise := float64(n) * (1e-12*float64(largest)*float64(largest) + 0x1p-194) // of float32 rounding, and where the scale is 0
		if plain := squaredError(w, largest/7); squaredError(w, scale) > plain*(1+1e-4)+noise {
			t.Fatalf("squared error: got %g, want at most %g, that of max|w|/7", squaredError(w, scale), plain)
		}
	})
}

// For a normal row the few steps come within 1 % of the best scale there is,
// found by trying 400.
func TestSketchNormalRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, 4096)
	var largest float32
	for i := range w {
		w[i] = 0.02 * float32(rng.NormFloat64())
		largest = max(largest, w[i], -w[i])
	}
	best := math.Inf(1)
	for i := range 400 {
		best = min(best, squaredError(w, largest/7*float32(i+1)/400))
	}
	scale := PackSketch(make([]byte, SketchBytes(len(w))), w)
	got, plain := squaredError(w, scale), squaredError(w, largest/7)
	t.Logf("squared error: got %.6f, best %.6f, that of max|w|/7 %.6f", got, best, plain)
	if got > 1.01*best || got > 0.8*plain {
		t.Errorf("squared error: got %g, want within 1 %% of %g and well below %g", got, best, plain)
	}
}

func BenchmarkPackSketch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, 4096)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	dst := make([]byte, SketchBytes(len(w)))
	b.SetBytes(4096) // elements, so that MB/s are million elements a second
	for b.Loop() {
		PackSketch(dst, w)
	}
}
