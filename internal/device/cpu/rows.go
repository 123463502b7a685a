package cpu

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// dotFunc multiplies weight rows of one stored type with activations.
type dotFunc struct {
	k  *kernel.Set
	dt tensor.DType
}

func rowDot(k *kernel.Set, dt tensor.DType) dotFunc { return dotFunc{k, dt} }

// one is the product of w and x. next is the row that comes next, if it does
// not follow w in memory.
func (d dotFunc) one(w []byte, x []float32, next []byte) float32 {
	switch d.dt {
	case tensor.F32:
		return d.k.DotF32(as[float32](w), x, first[float32](next))
	case tensor.F16:
		return d.k.DotF16(as[uint16](w), x, first[uint16](next))
	default:
		return d.k.DotBF16(as[uint16](w), x, first[uint16](next))
	}
}

// all sets out[t] to the product of w and row t of x. Four rows at a time
// share one reading of w; their sums are the same bits as one's.
func (d dotFunc) all(out []float32, w []byte, x device.Act, next []byte) {
	t := 0
	for ; t+4 <= x.Rows; t += 4 {
		four := d.four(w, x.Data[t*x.Stride:], x.Stride, next)
		copy(out[t:], four[:])
	}
	for ; t < x.Rows; t++ {
		out[t] = d.one(w, x.Row(t), next)
	}
}

func (d dotFunc) four(w []byte, x []float32, stride int, next []byte) [4]float32 {
	switch d.dt {
	case tensor.F32:
		return d.k.Dot4F32(as[float32](w), x, stride, first[float32](next))
	case tensor.F16:
		return d.k.Dot4F16(as[uint16](w), x, stride, first[uint16](next))
	default:
		return d.k.Dot4BF16(as[uint16](w), x, stride, first[uint16](next))
	}
}

// axpyFunc adds multiples of weight rows of one stored type.
type axpyFunc struct {
	k  *kernel.Set
	dt tensor.DType
}

func rowAxpy(k *kernel.Set, dt tensor.DType) axpyFunc { return axpyFunc{k, dt} }

// add adds a*w to y.
func (f axpyFunc) add(y []float32, a float32, w, next []byte) {
	switch f.dt {
	case tensor.F32:
		f.k.AxpyF32(y, a, as[float32](w), first[float32](next))
	case tensor.F16:
		f.k.AxpyF16(y, a, as[uint16](w), first[uint16](next))
	default:
		f.k.AxpyBF16(y, a, as[uint16](w), first[uint16](next))
	}
}

// as views little-endian bytes as elements. Rows start at multiples of their
// element's size, since every matrix and slot starts at a multiple of 64.
func as[T uint16 | float32](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// first is the address of b's first element, nil if there is none.
func first[T uint16 | float32](b []byte) *T {
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}
