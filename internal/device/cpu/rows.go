package cpu

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// form is how products of rows of a type are formed.
type form int

const (
	floats  form = iota // of elements of 32 or 16 bits with activations as they are
	decoded             // rows are made float32 first
	grouped             // of blocks with activations rounded by kernel.Set.QuantizeX
	chunked             // and by kernel.Set.RoundX
)

// matForm is how the backend takes rows of matrices of type dt.
func (b *Backend) matForm(dt tensor.DType) form {
	switch {
	case !dt.Quantised():
		return floats
	case b.exact || b.k.Blocks[dt] == nil:
		return decoded
	}
	return chunked
}

// unitForm is how it takes those of neurons, of which a token wants some.
func (b *Backend) unitForm(dt tensor.DType) form {
	f := b.matForm(dt)
	if f == chunked && b.k.Rows(dt).Axpy != nil {
		return grouped
	}
	return f
}

// dotFunc multiplies weight rows of one stored type with activations, which
// it holds in the form that the type takes.
type dotFunc struct {
	*kernel.Rows // of float32 for rows that are decoded
	k            *kernel.Set
	dt           tensor.DType
	form         form
	x            device.Act
	inputs       []byte // [x.Rows, stride] x itself or, grouped and chunked, rounded to 8 bits
	stride       int    // bytes
}

// dotWith multiplies with the rows of x. It rounds them in the backend's
// memory, which the next operation uses again.
func (b *Backend) dotWith(dt tensor.DType, f form, x device.Act) dotFunc {
	d := dotFunc{Rows: b.k.Rows(dt), k: &b.k, dt: dt, form: f, x: x, inputs: kernel.Bytes(x.Data), stride: 4 * x.Stride}
	switch d.form {
	case floats:
		return d
	case decoded:
		d.Rows = &b.k.F32
		return d
	case grouped:
		d.stride = kernel.QuantXBytes(x.Cols)
	case chunked:
		d.Rows, d.stride = b.k.Blocks[dt], kernel.RoundXBytes(x.Cols)
	}
	b.records = grow(b.records, (x.Rows+1)*d.stride) // see all
	d.inputs = b.records
	b.round.d = d
	b.pool.run(&b.round, x.Rows, b.units(tensor.F32.RowBytes(x.Cols)))
	return d
}

// dotAgain is dotWith for the rows of x, with neurons, of which same says that they
// are what they were at the latest operation with x.
func (b *Backend) dotAgain(dt tensor.DType, x device.Act, same bool) dotFunc {
	last, f := b.round.d, b.unitForm(dt)
	if same && f == grouped && last.form == f && last.dt == dt && x.Rows == last.x.Rows && x.Cols == last.x.Cols &&
		x.Stride == last.x.Stride && unsafe.SliceData(x.Data) == unsafe.SliceData(last.x.Data) {
		return last
	}
	return b.dotWith(dt, f, x)
}

// round rounds activations for weights of d's type.
type round struct{ d dotFunc }

func (r *round) run(lo, hi, _ int) {
	d, zero := &r.d, int32(kernel.ZeroQ8)
	if d.dt == tensor.Q4_0 {
		zero = kernel.ZeroQ4
	}
	for t := lo; t < hi; t++ {
		if d.form == chunked {
			d.k.RoundX(d.input(t)[:d.stride], d.x.Row(t))
		} else {
			d.k.QuantizeX(d.input(t)[:d.stride], d.x.Row(t), zero)
		}
	}
}

// RecordBytes is the memory beside its operands that a backend needs for
// products of [rows, cols] activations with weights of type dt.
func RecordBytes(dt tensor.DType, rows, cols int) int64 {
	if !dt.Quantised() {
		return 0
	}
	return int64(rows+1) * int64(max(kernel.QuantXBytes(cols), kernel.RoundXBytes(cols)))
}

// ready is row w as Dot takes it.
func (d *dotFunc) ready(s *scratch, w []byte) []byte {
	if d.form != decoded {
		return w
	}
	s.strip = grow(s.strip, max(stripElems, d.x.Cols))
	decode(d.k, s.strip[:d.x.Cols], w, d.dt)
	return kernel.Bytes(s.strip[:d.x.Cols])
}

// input is row t of x and what follows it.
func (d *dotFunc) input(t int) []byte { return d.inputs[t*d.stride:] }

// row is the product of w and row t of x. next is the row that comes next, if
// it does not follow w in memory.
func (d *dotFunc) row(w []byte, t int, next []byte) float32 {
	return d.Dot(w, d.input(t), unsafe.SliceData(next))
}

// all sets out[t] to the product of w and row t of x. Four rows at a time
// share one reading of w; their sums are the same bits as row's. The last three may
// take one more with them.
func (d *dotFunc) all(out []float32, w, next []byte) {
	t := 0
	for ; t+4 <= d.x.Rows || t+3 == d.x.Rows && d.Fours; t += 4 {
		four := d.Dot4(w, d.input(t), d.stride, unsafe.SliceData(next))
		copy(out[t:d.x.Rows], four[:])
	}
	for ; t < d.x.Rows; t++ {
		out[t] = d.row(w, t, next)
	}
}

// decode converts len(dst) elements, of whole blocks, to float32.
func decode(k *kernel.Set, dst []float32, src []byte, dt tensor.DType) {
	switch dt {
	case tensor.F32:
		copy(dst, kernel.Elements[float32](src))
	case tensor.F16:
		k.DecodeF16(dst, kernel.Elements[uint16](src)[:len(dst)])
	case tensor.BF16:
		k.DecodeBF16(dst, kernel.Elements[uint16](src)[:len(dst)])
	default:
		rows := k.Rows(dt)
		if rows == nil || rows.Axpy == nil {
			tensor.Decode(dst, src, dt)
			return
		}
		clear(dst) // to which 1 times each row is added
		rows.Axpy(dst, 1, src[:dt.RowBytes(len(dst))], nil)
	}
}

// aheadRows is how many rows of rowBytes before it is read a row is asked for:
// what lies between is some 8 KiB, which takes as long as memory takes to
// answer.
func aheadRows(rowBytes int64) int { return int(min(16, max(1, (8<<10-1)/rowBytes+1))) }
