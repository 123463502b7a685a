package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// u is half a unit in the last place of 1: what one rounding to float32 may
// change, relatively.
const u = 1.0 / (1 << 24)

// sumError is the relative error of a kernel's dot product of n elements; see
// package kernel.
func sumError(n int) float64 { return float64(n/64+21) * u }

var (
	floatTypes = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}
	dtypes     = append(slices.Clip(floatTypes), tensor.Q8_0, tensor.Q4_0)
)

// fits reports whether a type can have rows of cols elements.
func fits(dt tensor.DType, cols int) bool { return dt.OfRow(cols) == dt }

// roundError is what a product of x and a weight row of type dt may lose
// because x is rounded to 8 bits: half a step of its block in each element.
func roundError(dt tensor.DType, x []float32, w []float64) (sum float64) {
	if !dt.Quantised() {
		return 0
	}
	for first := 0; first < len(x); first += tensor.QuantBlock {
		top, weight := 0.0, 0.0
		for k := first; k < first+tensor.QuantBlock; k++ {
			top = max(top, math.Abs(float64(x[k])))
			weight += math.Abs(w[k])
		}
		sum += top / 254 * 1.001 * weight
	}
	return sum
}

// backends runs f over the oracle and over every set of kernels with 1, 2 and
// 3 threads, with work cut so finely that all threads take part.
func backends(t *testing.T, f func(t *testing.T, b device.Backend)) {
	run := func(name string, b device.Backend) {
		t.Run(name, func(t *testing.T) {
			defer b.Close()
			f(t, b)
		})
	}
	run("ref", ref.New())
	for _, k := range kernel.All() {
		for threads := 1; threads <= 3; threads++ {
			run(fmt.Sprintf("%s/threads=%d", k.Name, threads), cpu.NewFine(k, threads))
		}
	}
}

// random is a source of operands that are the same in every run.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

// floats is n normal numbers.
func (r random) floats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// unset marks elements that no operation may leave or touch.
const unset = -12345

// act is a [rows, cols] Act of normal numbers inside wider rows.
func (r random) act(rows, cols int) device.Act {
	a := emptyAct(rows, cols)
	for i := range rows {
		copy(a.Row(i), r.floats(cols))
	}
	return a
}

// emptyAct is a [rows, cols] Act, unset, inside wider rows that are unset too.
func emptyAct(rows, cols int) device.Act {
	a := device.NewAct(rows, cols+5)
	for i := range a.Data {
		a.Data[i] = unset
	}
	return a.Colspan(2, cols)
}

// clone is a copy of a, margins included.
func clone(a device.Act) device.Act {
	a.Data = append([]float32(nil), a.Data...)
	return a
}

// weights is n normal numbers stored as dt, and what is stored as float64.
func (r random) weights(n int, dt tensor.DType) ([]byte, []float64) {
	raw := make([]byte, dt.RowBytes(n))
	v := r.floats(n)
	tensor.Encode(raw, v, dt)
	tensor.Decode(v, raw, dt)
	wide := make([]float64, n)
	for i := range v {
		wide[i] = float64(v[i])
	}
	return raw, wide
}

// mat is a [rows, cols] matrix and its elements.
func (r random) mat(rows, cols int, dt tensor.DType) (device.Mat, []float64) {
	raw, wide := r.weights(rows*cols, dt)
	return device.Mat{Data: raw, DType: dt, Rows: rows, Cols: cols}, wide
}

// exact is a result in float64 and the error that float32 may have against it.
type exact struct {
	value, bound []float64 // [rows, cols]
	rows, cols   int
}

func newExact(rows, cols int) exact {
	return exact{make([]float64, rows*cols), make([]float64, rows*cols), rows, cols}
}

func (e exact) set(i, j int, value, bound float64) {
	e.value[i*e.cols+j], e.bound[i*e.cols+j] = value, bound
}

// check compares got with want, and the margins of got with what they were.
func check(t *testing.T, got device.Act, want exact) {
	t.Helper()
	for i := range want.rows {
		for j, g := range got.Row(i) {
			w, bound := want.value[i*want.cols+j], want.bound[i*want.cols+j]
			if !(math.Abs(float64(g)-w) <= bound) {
				t.Fatalf("row %d column %d: got %v, want %v, off by %.3g, bound %.3g", i, j, g, w, math.Abs(float64(g)-w), bound)
			}
		}
	}
	checkMargins(t, got)
}

// checkMargins looks between an emptyAct's rows, as far as its Data goes.
func checkMargins(t *testing.T, a device.Act) {
	t.Helper()
	for i, v := range a.Data {
		if i%a.Stride >= a.Cols && v != unset {
			t.Fatalf("element %d, beside the rows: got %v, want it untouched", i, v)
		}
	}
}

// sameBits fails unless got and want have the same bits.
func sameBits(t *testing.T, what string, got, want device.Act) {
	t.Helper()
	for i := range want.Rows {
		g, w := got.Row(i), want.Row(i)
		for j := range w {
			if math.Float32bits(g[j]) != math.Float32bits(w[j]) {
				t.Fatalf("%s: row %d column %d: got %v, want %v, bit for bit", what, i, j, g[j], w[j])
			}
		}
	}
}

// vec is a one-row view of v.
func vec(v []float32) device.Act {
	return device.Act{Data: v, Rows: 1, Cols: len(v), Stride: len(v)}
}

// oracle runs f on the oracle.
func oracle(f func(b device.Backend)) {
	b := ref.New()
	defer b.Close()
	f(b)
}
