package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
)

// Linear reads each weight row once for all tokens.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	b.lin.y, b.lin.w, b.lin.bias = y, w, bias
	b.lin.dot = b.dotWith(w.DType, x)
	rowBytes := w.DType.RowBytes(w.Cols)
	b.pool.run(&b.lin, w.Rows, b.units(rowBytes*int64(x.Rows)))
}

type linear struct {
	y    device.Act
	w    device.Mat
	bias []float32
	dot  dotFunc
	out  perWorker
}

func (l *linear) run(lo, hi, worker int) {
	out := l.out.of(worker, l.dot.x.Rows)
	rowBytes := int(l.w.DType.RowBytes(l.w.Cols))
	for r := lo; r < hi; r++ {
		row := l.w.Data[r*rowBytes : (r+1)*rowBytes]
		add := float32(0)
		if l.bias != nil {
			add = l.bias[r]
		}
		l.dot.all(out, row, nil)
		for t, v := range out {
			l.y.Data[t*l.y.Stride+r] = v + add
		}
	}
}
