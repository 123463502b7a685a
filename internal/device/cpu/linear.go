package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Linear reads each weight row once for all tokens.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	b.lin.y, b.lin.x, b.lin.w, b.lin.bias = y, x, w, bias
	b.lin.dot = rowDot(b.lin.k, w.DType)
	b.lin.rowBytes = int(w.DType.RowBytes(w.Cols))
	units := b.units(int64(b.lin.rowBytes) * int64(x.Rows))
	if b.lin.dot.tiles(x.Rows) {
		units = b.tileUnits(int64(b.lin.rowBytes), w.Rows)
	}
	b.pool.run(&b.lin, w.Rows, units)
}

type linear struct {
	k        *kernel.Set
	y, x     device.Act
	w        device.Mat
	rowBytes int
	bias     []float32
	dot      dotFunc
	out      perWorker
	scratch  []tile // [threads]
}

func (l *linear) run(lo, hi, worker int) {
	if l.dot.tiles(l.x.Rows) {
		l.dot.tile(&l.scratch[worker], l, lo, hi, l.x)
		return
	}
	out := l.out.of(worker, l.x.Rows)
	for r := lo; r < hi; r++ {
		l.dot.all(out, l.row(r), l.x, nil)
		l.put(r, 0, out)
	}
}

// row is a row of w.
func (l *linear) row(r int) []byte { return l.w.Data[r*l.rowBytes : (r+1)*l.rowBytes] }

// put sets column r of some tokens from t on.
func (l *linear) put(r, t int, products []float32) {
	add := float32(0)
	if l.bias != nil {
		add = l.bias[r]
	}
	y := l.y.Data[t*l.y.Stride+r:]
	for i, v := range products {
		y[i*l.y.Stride] = v + add
	}
}
