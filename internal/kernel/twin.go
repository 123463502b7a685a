package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// lanes is the number of partial sums of a dot product: four ZMM or eight YMM
// registers.
const lanes = 64

func dotF32(w, x []float32, _ *float32) float32 {
	var acc [lanes]float32
	n := len(w) &^ 15
	for i := 0; i < n; i += lanes {
		m := min(i+lanes, n)
		accumulate(&acc, w[i:m], x[i:m])
	}
	return finish(&acc, w[n:], x[n:len(w)])
}

func dotF16(w []uint16, x []float32, _ *uint16) float32 {
	var acc, wide [lanes]float32
	n := len(w) &^ 15
	for i := 0; i < n; i += lanes {
		m := min(i+lanes, n)
		decodeF16(wide[:], w[i:m])
		accumulate(&acc, wide[:m-i], x[i:m])
	}
	decodeF16(wide[:], w[n:])
	return finish(&acc, wide[:len(w)-n], x[n:len(w)])
}

func dotBF16(w []uint16, x []float32, _ *uint16) float32 {
	var acc, wide [lanes]float32
	n := len(w) &^ 15
	for i := 0; i < n; i += lanes {
		m := min(i+lanes, n)
		decodeBF16(wide[:], w[i:m])
		accumulate(&acc, wide[:m-i], x[i:m])
	}
	decodeBF16(wide[:], w[n:])
	return finish(&acc, wide[:len(w)-n], x[n:len(w)])
}

// accumulate adds the products of at most 64 elements to their partial sums.
func accumulate(acc *[lanes]float32, w, x []float32) {
	for l, v := range w {
		acc[l&(lanes-1)] = fma32(v, x[l], acc[l&(lanes-1)])
	}
}

// finish halves the partial sums down to one and adds the last elements.
func finish(acc *[lanes]float32, w, x []float32) float32 {
	for n := lanes / 2; n > 0; n /= 2 {
		for l := range n {
			acc[l] += acc[l+n]
		}
	}
	sum := acc[0]
	for k, v := range w {
		sum = fma32(v, x[k], sum)
	}
	return sum
}

func dot4F32(w, x []float32, stride int, next *float32) (sums [4]float32) {
	for i := range sums {
		sums[i] = dotF32(w, x[i*stride:], next)
	}
	return sums
}

func dot4F16(w []uint16, x []float32, stride int, next *uint16) (sums [4]float32) {
	for i := range sums {
		sums[i] = dotF16(w, x[i*stride:], next)
	}
	return sums
}

func dot4BF16(w []uint16, x []float32, stride int, next *uint16) (sums [4]float32) {
	for i := range sums {
		sums[i] = dotBF16(w, x[i*stride:], next)
	}
	return sums
}

func axpyF32(y []float32, a float32, w []float32, _ *float32) {
	for k, v := range w {
		y[k] = fma32(v, a, y[k])
	}
}

func axpyF16(y []float32, a float32, w []uint16, _ *uint16) {
	for k, v := range w {
		y[k] = fma32(tensor.F16ToF32(v), a, y[k])
	}
}

func axpyBF16(y []float32, a float32, w []uint16, _ *uint16) {
	for k, v := range w {
		y[k] = fma32(tensor.BF16ToF32(v), a, y[k])
	}
}

// axpy4 makes an Axpy4 of elements of size bytes, the first of which widen reads.
func axpy4(size int, widen func(w []byte) float32) func([]float32, *[4]float32, *[4][]byte, *[4]*byte) {
	return func(y []float32, a *[4]float32, w *[4][]byte, _ *[4]*byte) {
		for i, row := range w {
			for k := range len(w[0]) / size {
				y[k] = fma32(widen(row[k*size:]), a[i], y[k])
			}
		}
	}
}

// fma32 returns a*b + c rounded once to float32.
//
// The product is exact in float64 (48 of 53 bits), the sum rounds there, and
// rounding it again to float32 is wrong only where the first rounding landed
// on a tie between two float32 or where the result is subnormal, so that the
// tie lies at another bit. Those go to fma32Odd.
func fma32(a, b, c float32) float32 {
	product := float64(a) * float64(b)
	sum := product + float64(c)
	const minNormal = (1023 - 126) << 52 // bits of 2^-126
	bits := math.Float64bits(sum)
	if bits&(1<<29-1) == 1<<28 || bits&^(1<<63) < minNormal {
		return fma32Odd(product, float64(c), sum)
	}
	return float32(sum)
}

// fma32Odd rounds product + c to float32 given their float64 sum: it finds the
// sum's error (Knuth's TwoSum) and, where there is one, replaces the sum by
// its odd neighbour on the error's side, which no later rounding mistakes for
// a tie (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums:
// proved algorithms using rounding to odd", 2008).
func fma32Odd(product, c, sum float64) float32 {
	part := sum - product
	err := (product - (sum - part)) + (c - part)
	bits := math.Float64bits(sum)
	if err != 0 && bits&1 == 0 {
		if (err > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
	}
	return float32(math.Float64frombits(bits))
}

func load(b []byte) (sum uint64) {
	for len(b) >= 8 {
		sum += binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	for i, v := range b {
		sum += uint64(v) << (8 * i)
	}
	return sum
}
