package cpu

import (
	"math/bits"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Up computes neurons in any order: each is a sum of its own.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	b.up.h, b.up.s, b.up.w, b.up.sel = h, s, w, sel
	b.up.dot = b.dotWith(s.DType, x)
	b.pool.run(&b.up, len(sel), b.units(s.DType.RowBytes(s.Cols)*int64(x.Rows)))
}

type up struct {
	h   []float32
	s   device.Slots
	w   device.Work
	sel []int32
	dot dotFunc
}

func (u *up) run(lo, hi, _ int) {
	tokens := u.dot.x.Rows
	ahead := aheadRows(u.s.DType.RowBytes(u.s.Cols))
	for n := lo; n < hi; n++ {
		i := int(u.sel[n])
		row := u.s.Vec(u.w.Slots[i], 0)
		next := row
		if n+ahead < hi {
			next = u.s.Vec(u.w.Slots[u.sel[n+ahead]], 0)
		}
		add := float32(0)
		if u.w.Bias != nil {
			add = u.w.Bias[u.w.IDs[i]]
		}
		h := u.h[i*tokens : (i+1)*tokens]
		if u.w.Wants == nil {
			u.dot.all(h, row, next)
			for t, v := range h {
				h[t] = activate(u.w.Act, v+add)
			}
			continue
		}
		clear(h)
		for word, m := range u.w.Wants[i*u.w.WantWords : (i+1)*u.w.WantWords] {
			for ; m != 0; m &= m - 1 {
				t := word<<6 + bits.TrailingZeros64(m)
				h[t] = activate(u.w.Act, u.dot.row(row, t, next)+add)
			}
		}
	}
}

// Down splits the output's columns between threads, so that every element is
// one sum in ascending neuron id.
func (b *Backend) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	b.down.y, b.down.h, b.down.s, b.down.w = y, h, s, w
	b.down.axpy = rowAxpy(b.down.k, s.DType)
	strips := (s.Cols + downStrip - 1) / downStrip
	// The fewer the cuts, the longer the runs of memory that a thread reads.
	least := (strips + b.pool.threads() - 1) / b.pool.threads()
	b.pool.run(&b.down, strips, max(least, b.units(s.DType.RowBytes(downStrip)*int64(len(w.IDs))*int64(y.Rows))))
}

// aheadRows is how many rows of rowBytes before it is read a row is asked for:
// what lies between is some 8 KiB, which takes as long as memory takes to
// answer. (Quantised rows of 4,096 elements are of 2 or 4 KiB: from one row
// ahead q4_0 reached 0.44 of memory's rate, from 8 KiB ahead 0.75.)
func aheadRows(rowBytes int64) int { return int(min(16, max(1, (8<<10-1)/rowBytes+1))) }

// downStrip is the columns of an MLP's output that stay on one thread: a few
// cache lines of every element type.
const downStrip = 64

type down struct {
	k    *kernel.Set
	y    device.Act
	h    []float32
	s    device.Slots
	w    device.Work
	axpy axpyFunc
}

func (d *down) run(lo, hi, _ int) {
	tokens := d.y.Rows
	j0, j1 := lo*downStrip, min(hi*downStrip, d.s.Cols)
	b0, b1 := d.s.DType.RowBytes(j0), d.s.DType.RowBytes(j1)
	ahead := aheadRows(b1 - b0)
	for i, slot := range d.w.Slots {
		col := d.s.Vec(slot, d.s.Parts-1)[b0:b1]
		next := col
		if i+ahead < len(d.w.Slots) {
			next = d.s.Vec(d.w.Slots[i+ahead], d.s.Parts-1)[b0:b1]
		}
		for t := range tokens {
			a := d.h[i*tokens+t]
			if a == 0 && (d.w.SkipZero || !d.w.Wanted(i, t)) {
				continue
			}
			d.axpy.add(d.y.Row(t)[j0:j1], a, col, next)
		}
	}
}
