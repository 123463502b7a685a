package kernel

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Attention is the kernels of attention over a page of keys or values. All
// fields are set.
//
// Keys and values are contiguous rows of head dim elements; the head dim is a
// multiple of 16, of 32 in q8_0, whose rows are blocks of 34 bytes: a float16
// scale and 32 int8, which stand for the float32 product of the two. A query
// is one row of head dim float32.
//
// A score is one sum in one order, whatever the type of the keys and however
// many queries share them: product k is added, in ascending k and by fused
// multiply-add, to partial sum k mod 16; partial sum l takes sum l+8, then
// neighbours meet (0 and 1, 2 and 3, ...), then neighbouring pairs, then the
// two halves. An output is, for each element, one chain of fused multiply-adds
// in ascending position.
type Attention struct {
	// The kernels over rows of a type, for one query.
	F32, F16, Q8 Pages
	// Scores4 is Pages.Scores for the four queries q [4, head dim] and the first
	// n keys, n being any number; the scores of query j begin at s[j*stride].
	Scores4 func(s []float32, stride, n int, q, keys []float32)
	// Values4 is Pages.Values for the four outputs y [4, head dim], each with its
	// own c[j] and n weights from p[j*stride] on.
	Values4 func(y, c, p []float32, stride, n int, values []float32)

	// Softmax takes one page's scores into a running softmax; see softmax,
	// its twin. len(s) is a multiple of 16 and not 0.
	Softmax func(s []float32, state *[3]float32, scale float32)
}

// Pages is the kernels of attention over keys and values of one type.
type Pages struct {
	// Scores sets s[i] to the product of q and the i-th key; len(s) is a
	// multiple of 4, len(q) the head dim. next is where the memory that is
	// read after keys begins, or nil.
	Scores func(s, q []float32, keys []byte, next *byte)
	// Values multiplies y by c and adds p[i] times the i-th value to it, i
	// ascending; len(y) is the head dim and len(p) the number of values.
	Values func(y []float32, c float32, p []float32, values []byte, next *byte)
}

// goAttention is the plain-Go twins.
func goAttention() Attention {
	return Attention{
		F32: pages(tensor.F32), F16: pages(tensor.F16), Q8: pages(tensor.Q8_0),
		Scores4: scores4, Values4: values4, Softmax: softmax,
	}
}

// pages is the twins for keys and values of type dt.
func pages(dt tensor.DType) Pages {
	decoded := func(raw []byte, n int) []float32 {
		v := make([]float32, n)
		tensor.Decode(v, raw[:dt.RowBytes(n)], dt)
		return v
	}
	return Pages{
		Scores: func(s, q []float32, keys []byte, _ *byte) { scores(s, q, decoded(keys, len(s)*len(q))) },
		Values: func(y []float32, c float32, p []float32, rows []byte, _ *byte) {
			values(y, c, p, decoded(rows, len(p)*len(y)))
		},
	}
}

func scores(s, q, keys []float32) {
	for i := range s {
		s[i] = score(q, keys[i*len(q):])
	}
}

func scores4(s []float32, stride, n int, q, keys []float32) {
	hd := len(q) / 4
	for j := range 4 {
		scores(s[j*stride:][:n], q[j*hd:(j+1)*hd], keys)
	}
}

// score is the product of q and key.
func score(q, key []float32) float32 {
	var acc [16]float32
	for k, v := range q {
		acc[k%16] = fma32(key[k], v, acc[k%16])
	}
	return fold16(&acc)
}

// fold16 sums 16 partial sums: l and l+8, then neighbours, then pairs, then
// halves.
func fold16(acc *[16]float32) float32 {
	for l := range 8 {
		acc[l] += acc[l+8]
	}
	return ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]))
}

func values(y []float32, c float32, p, rows []float32) {
	for k := range y {
		y[k] *= c
	}
	for i, a := range p {
		axpy[elemF32](y, a, Bytes(rows[i*len(y):][:len(y)]), nil)
	}
}

func values4(y, c, p []float32, stride, n int, rows []float32) {
	hd := len(y) / 4
	for j := range 4 {
		values(y[j*hd:(j+1)*hd], c[j], p[j*stride:][:n], rows)
	}
}

// softmax takes one page's scores into a softmax that runs over the pages of a
// context (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018). state is the largest score so far, the sum of the weights
// so far and, on return, what both that sum has been and the outputs are to be
// multiplied by, now that a larger score may have come: a fresh state is
// (-Inf, 0, 0). s becomes exp(s*scale - largest), whose sum is formed as that
// of a score. With NaN or +Inf among the scores, or -Inf alone, the sum is NaN
// and the weights are anything.
func softmax(s []float32, state *[3]float32, scale float32) {
	old := state[0]
	top := old
	for i := range s {
		s[i] *= scale
		top = max(top, s[i])
	}
	var acc [16]float32
	for i, v := range s {
		s[i] = exp32(v - top)
		acc[i%16] += s[i]
	}
	fix := exp32(old - top)
	state[0], state[1], state[2] = top, fma32(state[1], fix, fold16(&acc)), fix
}

// exp32 is exp(x) for x at most 0, to within 1 unit in the last place down to
// -86 and 0 below: weights that small (4e-38) are nothing beside the largest,
// which is 1. exp32(0) is 1.
//
// x is n ln 2 + r with the nearest n, ln 2 in two parts of which the first has
// few bits; exp(r) is Cephes' polynomial (S. Moshier, expf), and n is added to
// its exponent.
func exp32(x float32) float32 {
	if x < -86 {
		return 0
	}
	if x != x {
		return x
	}
	n := float32(math.RoundToEven(float64(float32(x * math.Log2E))))
	r := fma32(-n, 0.693359375, x)
	r = fma32(-n, -2.12194440e-4, r)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		p = fma32(p, r, c)
	}
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23)
}
