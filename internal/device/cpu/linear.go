package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Linear reads each weight row once for all tokens.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	form := b.matForm(w.DType)
	b.lin.y, b.lin.w, b.lin.bias, b.lin.fine = y, w, bias, w.Fine && form == chunked
	if b.lin.fine {
		const most = 8 // rows whose halves a thread has room for
		if x.Rows > most {
			b.Linear(y.Top(most), x.Top(most), w, bias)
			b.Linear(y.Rowspan(most, x.Rows-most), x.Rowspan(most, x.Rows-most), w, bias)
			return
		}
		x = b.halves(x)
	}
	b.lin.dot = b.dotWith(w.DType, form, x)
	b.lin.rowBytes = int(w.DType.RowBytes(w.Cols))
	units := b.units(int64(b.lin.rowBytes) * int64(x.Rows))
	if b.lin.tiles() {
		units = b.tileUnits(int64(b.lin.rowBytes), w.Rows)
	}
	if b.lin.tiles() && b.lin.dot.gemms() {
		units = gemmUnits(units)
	}
	b.pool.run(&b.lin, w.Rows, units)
}

type linear struct {
	y        device.Act
	w        device.Mat
	rowBytes int
	bias     []float32
	fine     bool // rows of activations are in halves
	dot      dotFunc
	scratch  []scratch // [threads]
}

// tiles reports whether products come in tiles. Halves are added where they are.
func (l *linear) tiles() bool { return !l.fine && l.dot.tiles() }

// halves is x of twice as many rows: each, and what rounding it to 8 bits leaves.
// The sum of a row's products with both is that of activations of 16 bits.
func (b *Backend) halves(x device.Act) device.Act {
	b.fine = grow(b.fine, 2*x.Rows*x.Cols)
	y := device.Act{Data: b.fine, Rows: 2 * x.Rows, Cols: x.Cols, Stride: x.Cols}
	for t := range x.Rows {
		copy(y.Row(2*t), x.Row(t))
		kernel.Residual(y.Row(2*t+1), x.Row(t))
	}
	return y
}

// FineBytes is the memory beside its operands that a backend needs for products of
// [rows, cols] activations with weights of type dt that are Fine.
func FineBytes(dt tensor.DType, rows, cols int) int64 {
	if !dt.Quantised() {
		return 0
	}
	return 4*int64(roomFor(2*rows*cols)) + RecordBytes(dt, 2*rows, cols)
}

func (l *linear) run(lo, hi, worker int) {
	if l.tiles() {
		l.dot.tile(&l.scratch[worker], l, lo, hi)
		return
	}
	s := &l.scratch[worker]
	if l.dot.x.Rows == 1 && l.dot.form != decoded {
		y := l.y.Data[lo:hi]
		l.dot.MatVec(y, l.w.Data[lo*l.rowBytes:hi*l.rowBytes], l.rowBytes, l.dot.inputs, l.dot.k.Ahead)
		l.addBias(lo, hi)
		return
	}
	if l.fine && l.y.Rows == 1 && l.dot.Fine != nil {
		l.dot.Fine(l.y.Data[lo:hi], l.w.Data[lo*l.rowBytes:hi*l.rowBytes], l.rowBytes, l.dot.inputs, l.dot.stride, l.dot.k.Ahead)
		l.addBias(lo, hi)
		return
	}
	out := s.out[:l.dot.x.Rows] // fewer than a tile's
	for r := lo; r < hi; r++ {
		l.dot.all(out, l.dot.ready(s, l.row(r)), nil)
		if l.fine {
			for t := range l.y.Rows {
				out[t] = out[2*t] + out[2*t+1]
			}
		}
		l.put(r, 0, out[:l.y.Rows])
	}
}

// addBias adds that of the rows lo to hi to one token's products.
func (l *linear) addBias(lo, hi int) {
	if l.bias == nil {
		return
	}
	y := l.y.Data[lo:hi]
	for i, v := range l.bias[lo:hi] {
		y[i] += v
	}
}

// matVec2 is the products of one token with n rows of w from lo on, and with as many
// of another's, which may be the same, from lo2 on.
func (l *linear) matVec2(other *linear, lo, lo2, n int) {
	l.dot.MatVec2(l.y.Data[lo:lo+n], other.y.Data[lo2:lo2+n], l.w.Data[lo*l.rowBytes:], other.w.Data[lo2*l.rowBytes:], l.rowBytes, l.dot.inputs, l.dot.k.Ahead)
	l.addBias(lo, lo+n)
	other.addBias(lo2, lo2+n)
}

// row is a row of w.
func (l *linear) row(r int) []byte { return l.w.Data[r*l.rowBytes : (r+1)*l.rowBytes] }

// put sets column r of some tokens from t on.
func (l *linear) put(r, t int, products []float32) {
	y := l.y.Data[t*l.y.Stride+r:]
	for i, v := range products {
		if l.bias != nil {
			v += l.bias[r]
		}
		y[i*l.y.Stride] = v
	}
}

func (l *linear) column(r, t int, products []float32) {
	y := l.y.Row(t)[r:][:copy(l.y.Row(t)[r:], products)]
	if l.bias != nil {
		for i, v := range l.bias[r:][:len(y)] {
			y[i] += v
		}
	}
}
