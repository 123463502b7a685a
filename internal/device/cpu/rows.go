package cpu

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// dotFunc multiplies weight rows of one stored type with activations, which
// it holds in the form that the type takes.
type dotFunc struct {
	k       *kernel.Set
	dt      tensor.DType
	x       device.Act
	records []byte // [x.Rows, stride] x rounded to 8 bits, if dt is quantised
	stride  int    // bytes
}

// dotWith multiplies with the rows of x. It rounds them in the backend's
// memory, which the next operation uses again.
func (b *Backend) dotWith(dt tensor.DType, x device.Act) dotFunc {
	d := dotFunc{k: &b.k, dt: dt, x: x}
	if !dt.Quantised() {
		return d
	}
	d.stride = kernel.QuantXBytes(x.Cols)
	b.records = grow(b.records, x.Rows*d.stride)
	d.records = b.records
	b.round.d = d
	b.pool.run(&b.round, x.Rows, b.units(tensor.F32.RowBytes(x.Cols)))
	return d
}

// dotAgain is dotWith for the rows of x of which same says that they are what
// they were at the latest operation with x.
func (b *Backend) dotAgain(dt tensor.DType, x device.Act, same bool) dotFunc {
	if last := b.round.d; same && dt == last.dt && dt.Quantised() && x.Rows == last.x.Rows && x.Cols == last.x.Cols &&
		x.Stride == last.x.Stride && unsafe.SliceData(x.Data) == unsafe.SliceData(last.x.Data) {
		return last
	}
	return b.dotWith(dt, x)
}

// round rounds activations for weights of d's type.
type round struct{ d dotFunc }

func (r *round) run(lo, hi, _ int) {
	d, zero := &r.d, int32(kernel.ZeroQ8)
	if d.dt == tensor.Q4_0 {
		zero = kernel.ZeroQ4
	}
	for t := lo; t < hi; t++ {
		d.k.QuantizeX(d.records[t*d.stride:][:d.stride], d.x.Row(t), zero)
	}
}

// RecordBytes is the memory beside its operands that a backend needs for
// products of [rows, cols] activations with weights of type dt.
func RecordBytes(dt tensor.DType, rows, cols int) int64 {
	if !dt.Quantised() {
		return 0
	}
	return int64(rows) * int64(kernel.QuantXBytes(cols))
}

// row is the product of w and row t of x. next is the row that comes next, if
// it does not follow w in memory.
func (d dotFunc) row(w []byte, t int, next []byte) float32 {
	switch d.dt {
	case tensor.Q8_0:
		return d.k.DotQ8(w, d.records[t*d.stride:], unsafe.SliceData(next))
	case tensor.Q4_0:
		return d.k.DotQ4(w, d.records[t*d.stride:], unsafe.SliceData(next))
	default:
		return d.one(w, d.x.Row(t), next)
	}
}

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

// matVec sets y to the products of as many rows w of rowBytes bytes, one after
// the other, with x's only row.
func (d *dotFunc) matVec(y []float32, w []byte, rowBytes int) {
	switch d.dt {
	case tensor.Q8_0:
		d.k.MatVecQ8(y, w, rowBytes, d.records)
	case tensor.Q4_0:
		d.k.MatVecQ4(y, w, rowBytes, d.records)
	case tensor.F32:
		d.k.MatVecF32(y, as[float32](w), d.x.Row(0))
	case tensor.F16:
		d.k.MatVecF16(y, as[uint16](w), d.x.Row(0))
	default:
		d.k.MatVecBF16(y, as[uint16](w), d.x.Row(0))
	}
}

// all sets out[t] to the product of w and row t of x. Four rows at a time
// share one reading of w; their sums are the same bits as row's.
func (d dotFunc) all(out []float32, w, next []byte) {
	t := 0
	for ; t+4 <= d.x.Rows; t += 4 {
		four := d.four(w, t, next)
		copy(out[t:], four[:])
	}
	for ; t < d.x.Rows; t++ {
		out[t] = d.row(w, t, next)
	}
}

// four is the products of w and rows t to t+3 of x.
func (d dotFunc) four(w []byte, t int, next []byte) [4]float32 {
	switch d.dt {
	case tensor.Q8_0:
		return d.k.Dot4Q8(w, d.records[t*d.stride:], d.stride, unsafe.SliceData(next))
	case tensor.Q4_0:
		return d.k.Dot4Q4(w, d.records[t*d.stride:], d.stride, unsafe.SliceData(next))
	}
	x, stride := d.x.Data[t*d.x.Stride:], d.x.Stride
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
	case tensor.Q8_0:
		f.k.AxpyQ8(y, a, w, unsafe.SliceData(next))
	case tensor.Q4_0:
		f.k.AxpyQ4(y, a, w, unsafe.SliceData(next))
	default:
		f.k.AxpyBF16(y, a, as[uint16](w), first[uint16](next))
	}
}

// rowAxpy4 is what adds four rows at once.
func rowAxpy4(k *kernel.Set, dt tensor.DType) func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte) {
	switch dt {
	case tensor.F32:
		return k.Axpy4F32
	case tensor.F16:
		return k.Axpy4F16
	case tensor.Q8_0:
		return k.Axpy4Q8
	case tensor.Q4_0:
		return k.Axpy4Q4
	default:
		return k.Axpy4BF16
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
