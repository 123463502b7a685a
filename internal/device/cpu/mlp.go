package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Up computes neurons in any order: each is a sum of its own.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	b.up.h, b.up.s, b.up.w, b.up.sel = h, s, w, sel
	b.up.dot = b.dotAgain(s.DType, x, w.SameInput)
	if len(sel) == 0 {
		return
	}
	rowBytes := s.DType.RowBytes(s.Cols)
	switch {
	case b.up.byWide():
		b.pool.run((*upWide)(&b.up), len(sel), min(wideRows(s.Cols), b.tileUnits(rowBytes, len(sel))))
	case b.up.byToken(b.pool.threads()):
		for n := range sel {
			clear(b.up.of(n))
		}
		b.pool.run((*upTokens)(&b.up), x.Rows, wantTokens)
	case w.Wants == nil && b.up.dot.tiles():
		b.pool.run(&b.up, len(sel), b.tileUnits(rowBytes, len(sel)))
	default:
		b.pool.run(&b.up, len(sel), b.units(rowBytes*int64(x.Rows)))
	}
}

// wantTokens is how many tokens, each of which wants neurons of its own, a
// thread takes at a time.
const wantTokens = 16

type up struct {
	h       []float32
	s       device.Slots
	w       device.Work
	sel     []int32
	dot     dotFunc
	scratch []tile // [threads]
}

// byToken reports whether threads split the tokens, and not the neurons. A
// token's activations are then read once for all neurons that it wants, and
// the weights, which many tokens share, come from a cache.
func (u *up) byToken(threads int) bool {
	return u.w.Wants != nil && u.dot.x.Rows >= wantTokens*threads
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
// rows of a matrix for one token: first halves that follow one another, as do
// their activations.
func (u *up) together(n, end int) int {
	if u.s.Plane == 0 || u.dot.x.Rows > 1 || u.w.Wants != nil {
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
	u.dot.matVec(h, u.s.Data[int64(u.w.Slots[i]-u.s.First)*u.s.Stride:][:rows*rowBytes], rowBytes)
	for k, v := range h {
		if u.w.Bias != nil {
			v += u.w.Bias[u.w.IDs[int(i)+k]]
		}
		h[k] = activate(u.w.Act, v)
	}
}

// upTokens is up by token.
type upTokens up

// run computes what the tokens lo to hi want, several neurons to one reading
// of a token.
func (p *upTokens) run(lo, hi, worker int) {
	u := (*up)(p)
	var some [kernel.TileRows]int
	for t := lo; t < hi; t++ {
		n := 0
		for i, id := range u.sel {
			if u.w.Wanted(int(id), t) {
				some[n] = i
				if n++; n == len(some) {
					u.some(some[:], t, &u.scratch[worker])
					n = 0
				}
			}
		}
		u.some(some[:n], t, &u.scratch[worker])
	}
}

// some computes up to a tile's rows of neurons for one token.
func (u *up) some(ns []int, t int, s *tile) {
	if len(ns) > 0 {
		u.dot.rows(s, u, ns, t)
		for j, n := range ns {
			u.put(n, t, s.out[j:j+1])
		}
	}
}

// row is the first half of the n-th neuron of sel.
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

// aheadRows is how many rows of rowBytes before it is read a row is asked for:
// what lies between is some 8 KiB, which takes as long as memory takes to
// answer. (Quantised rows of 4,096 elements are of 2 or 4 KiB: from one row
// ahead q4_0 reached 0.44 of memory's rate, from 8 KiB ahead 0.75.)
func aheadRows(rowBytes int64) int { return int(min(16, max(1, (8<<10-1)/rowBytes+1))) }
