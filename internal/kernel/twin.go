package kernel

import (
	"encoding/binary"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// lanes is the number of partial sums of a dot product: four ZMM or eight YMM
// registers.
const lanes = 64

// elem is an element of a row of floats.
type elem interface {
	~float32 | ~uint16
	float() float32
}

type (
	elemF32  float32
	elemF16  uint16
	elemBF16 uint16
)

func (v elemF32) float() float32  { return float32(v) }
func (v elemF16) float() float32  { return tensor.F16ToF32(uint16(v)) }
func (v elemBF16) float() float32 { return tensor.BF16ToF32(uint16(v)) }

// floatRows is the twins for rows of T.
func floatRows[T elem]() Rows {
	return Rows{Dot: dot[T], Dot4: dot4(dot[T]), MatVec: matVec(dot[T]), Axpy: axpy[T], Axpy4: axpy4(axpy[T])}
}

func dot[T elem](w, x []byte, _ *byte) float32 {
	row, v := Elements[T](w), Elements[float32](x)
	var acc [lanes]float32
	n := len(row) &^ 15
	for k, e := range row[:n] {
		acc[k%lanes] = fma32(e.float(), v[k], acc[k%lanes])
	}
	sum := halve(&acc)
	for k := n; k < len(row); k++ {
		sum = fma32(row[k].float(), v[k], sum)
	}
	return sum
}

// halve halves the partial sums down to one.
func halve(acc *[lanes]float32) float32 {
	for n := lanes / 2; n > 0; n /= 2 {
		for l := range n {
			acc[l] += acc[l+n]
		}
	}
	return acc[0]
}

func axpy[T elem](y []float32, a float32, w []byte, _ *byte) {
	for k, e := range Elements[T](w) {
		y[k] = fma32(e.float(), a, y[k])
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

func load(b []byte, _ *byte) (sum uint64) {
	for len(b) >= 8 {
		sum += binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	for i, v := range b {
		sum += uint64(v) << (8 * i)
	}
	return sum
}
