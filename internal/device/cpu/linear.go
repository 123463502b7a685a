package cpu

import "github.com/sparseflow/sparseflow/internal/device"

// Linear reads each weight row once for all tokens.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	b.lin.y, b.lin.w, b.lin.bias = y, w, bias
	b.lin.dot = b.dotWith(w.DType, b.matForm(w.DType), x)
	b.lin.rowBytes = int(w.DType.RowBytes(w.Cols))
	units := b.units(int64(b.lin.rowBytes) * int64(x.Rows))
	if b.lin.dot.tiles() {
		units = b.tileUnits(int64(b.lin.rowBytes), w.Rows)
	}
	if b.lin.dot.gemms() {
		units = gemmUnits(units)
	}
	b.pool.run(&b.lin, w.Rows, units)
}

type linear struct {
	y        device.Act
	w        device.Mat
	rowBytes int
	bias     []float32
	dot      dotFunc
	scratch  []scratch // [threads]
}

func (l *linear) run(lo, hi, worker int) {
	if l.dot.tiles() {
		l.dot.tile(&l.scratch[worker], l, lo, hi)
		return
	}
	s := &l.scratch[worker]
	if l.dot.x.Rows == 1 && l.dot.form != decoded {
		y := l.y.Data[lo:hi]
		l.dot.MatVec(y, l.w.Data[lo*l.rowBytes:hi*l.rowBytes], l.rowBytes, l.dot.inputs, l.dot.k.Ahead)
		if l.bias != nil {
			for i, v := range l.bias[lo:hi] {
				y[i] += v
			}
		}
		return
	}
	out := s.out[:l.dot.x.Rows] // fewer than a tile's
	for r := lo; r < hi; r++ {
		l.dot.all(out, l.dot.ready(s, l.row(r)), nil)
		l.put(r, 0, out)
	}
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
