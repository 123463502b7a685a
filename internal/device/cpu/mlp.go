package cpu

import "github.com/sparseflow/sparseflow/internal/device"

// Up computes neurons in any order: each is a sum of its own.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	b.up.h, b.up.s, b.up.w, b.up.sel = h, s, w, sel
	b.up.dot = b.dotAgain(s.DType, x, w.SameInput)
	if len(sel) == 0 {
		return
	}
	rowBytes := s.DType.RowBytes(s.Cols)
	switch {
	case b.up.byBlocks():
		b.pool.run((*upBlocks)(&b.up), len(sel), min(b.up.listedRows(), b.tileUnits(rowBytes, len(sel))))
	case w.Wants == nil && b.up.dot.tiles():
		b.pool.run(&b.up, len(sel), b.tileUnits(rowBytes, len(sel)))
	default:
		b.pool.run(&b.up, len(sel), b.units(rowBytes*int64(x.Rows)))
	}
}

type up struct {
	h       []float32
	s       device.Slots
	w       device.Work
	sel     []int32
	dot     dotFunc
	scratch []scratch // [threads]
}

func (u *up) run(lo, hi, worker int) {
	if u.w.Wants == nil && u.dot.tiles() {
		u.dot.tile(&u.scratch[worker], u, lo, hi)
		return
	}
	ahead := aheadRows(u.s.DType.RowBytes(u.s.Cols))
	for n := lo; n < hi; n++ {
		if rows := u.together(n, hi); rows > ahead { // fewer are read faster one by one, if others follow
			u.matVec(n, rows)
			n += rows - 1
			continue
		}
		next := u.row(n)
		if n+ahead < hi {
			next = u.row(n + ahead)
		}
		h := u.of(n)
		if u.w.Wants == nil {
			u.dot.all(h, u.row(n), next)
			u.put(n, 0, h)
			continue
		}
		clear(h)
		for t := range h {
			if u.w.Wanted(int(u.sel[n]), t) {
				h[t] = u.dot.row(u.row(n), t, next)
				u.put(n, t, h[t:t+1])
			}
		}
	}
}

// together is how many neurons of sel from the n-th on, before the end-th, are
// rows of a matrix for one token: first parts that follow one another, as do
// their activations.
func (u *up) together(n, end int) int {
	if u.s.PartStride == 0 || u.dot.x.Rows > 1 || u.w.Wants != nil {
		return 1
	}
	rows := 1
	for i := u.sel[n]; n+rows < end; rows++ {
		if j := i + int32(rows); u.sel[n+rows] != j || u.w.Slots[j] != u.w.Slots[j-1]+1 {
			break
		}
	}
	return rows
}

// matVec computes as many neurons, which are together.
func (u *up) matVec(n, rows int) {
	i, rowBytes := u.sel[n], int(u.s.Stride)
	h := u.h[i:][:rows]
	u.dot.MatVec(h, u.s.Data[int64(u.w.Slots[i]-u.s.First)*u.s.Stride:][:rows*rowBytes], rowBytes, u.dot.inputs, u.dot.k.Ahead)
	for k, v := range h {
		if u.w.Bias != nil {
			v += u.w.Bias[u.w.IDs[int(i)+k]]
		}
		h[k] = activate(u.w.Act, v)
	}
}

// row is the first part of the n-th neuron of sel.
func (u *up) row(n int) []byte { return u.s.Vec(u.w.Slots[u.sel[n]], 0) }

// of is the activations of the n-th neuron of sel, [tokens].
func (u *up) of(n int) []float32 {
	i := int(u.sel[n])
	return u.h[i*u.dot.x.Rows : (i+1)*u.dot.x.Rows]
}

// put sets activations of the n-th neuron of sel from token t on.
func (u *up) put(n, t int, products []float32) {
	add := float32(0)
	if u.w.Bias != nil {
		add = u.w.Bias[u.w.IDs[u.sel[n]]]
	}
	h := u.of(n)[t:]
	for i, v := range products {
		h[i] = activate(u.w.Act, v+add)
	}
}
