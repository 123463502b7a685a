package kernel

import "math"

// sketchBytes is the size of one block of a sketch row: 64 elements of 4 bits.
const sketchBytes = 32

func dotU4S8(w []byte, x []int8) (sum int32) {
	for len(w) >= sketchBytes {
		lo, hi := x[:sketchBytes], x[sketchBytes:2*sketchBytes]
		for j, b := range w[:sketchBytes] {
			sum += int32(b&15)*int32(lo[j]) + int32(b>>4)*int32(hi[j])
		}
		w, x = w[sketchBytes:], x[2*sketchBytes:]
	}
	return sum
}

// fourSketches makes a Dot4U4S8 of a DotU4S8.
func fourSketches(dot func(w []byte, x []int8) int32) func([]byte, []int8, int) [4]int32 {
	return func(w []byte, x []int8, stride int) (sums [4]int32) {
		for i := range sums {
			sums[i] = dot(w, x[i*stride:])
		}
		return sums
	}
}

// quantizer makes a QuantizeS8 of its two passes, so that the decisions
// between them are written once.
func quantizer(absMaxBits func([]float32) uint32, round func([]int8, []float32, float32) int32) func([]int8, []float32) (float32, int32) {
	return func(dst []int8, x []float32) (scale float32, sum int32) {
		m := math.Float32frombits(absMaxBits(x))
		inv := 127 / m
		switch {
		case m != m || math.IsInf(float64(m), 0):
			clear(dst[:len(x)])
			return float32(math.NaN()), 0
		case math.IsInf(float64(inv), 0):
			clear(dst[:len(x)])
			return 0, 0
		}
		return m / 127, round(dst, x, inv)
	}
}

// absMaxBits returns the largest of the bits of |x[k]|, 0 for none. Without
// its sign a float32 orders as its bits do, and infinity and NaN above all
// others.
func absMaxBits(x []float32) (most uint32) {
	for _, v := range x {
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return most
}

// roundS8 stores x[k]*inv, rounded half to even, in dst[k] and returns their
// sum. The caller sees to it that they fit.
func roundS8(dst []int8, x []float32, inv float32) (sum int32) {
	for k, v := range x {
		q := int32(math.RoundToEven(float64(float32(v * inv))))
		dst[k] = int8(q)
		sum += q
	}
	return sum
}
