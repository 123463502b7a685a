package cpu

import (
	"math/bits"

	"github.com/sparseflow/sparseflow/internal/device"
)

// Up computes neurons in any order: each is a sum of its own. In neurons of three
// parts the first parts of all come first. What they leave to do, with the second
// parts, is then known.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	u := &b.up
	u.h, u.s, u.w, u.sel, u.part = h, s, w, sel, 0
	u.dot = b.dotAgain(s.DType, x, w.SameInput)
	b.runUp()
	if s.Parts == 3 {
		u.gated()
		b.runUp()
	}
}

// runUp computes a part of the neurons.
func (b *Backend) runUp() {
	u := &b.up
	if len(u.sel) == 0 {
		return
	}
	rowBytes := u.s.DType.RowBytes(u.s.Cols)
	switch {
	case u.byBlocks():
		b.pool.run((*upBlocks)(u), len(u.sel), min(u.listedRows(), b.tileUnits(rowBytes, len(u.sel))))
	case u.w.Wants == nil && u.dot.tiles():
		b.pool.run(u, len(u.sel), b.tileUnits(rowBytes, len(u.sel)))
	default:
		b.pool.run(u, len(u.sel), b.units(rowBytes*int64(u.dot.x.Rows)))
	}
}

type up struct {
	h       []float32
	s       device.Slots
	w       device.Work
	sel     []int32
	part    int // 0: sets h; 1: multiplies it
	dot     dotFunc
	scratch []scratch // [threads]

	// What the gates leave of sel and Wants.
	active []int32
	wants  []uint64
}

// gated goes on to the second parts, only to those that count where zeros are
// skipped.
func (u *up) gated() {
	u.part = 1
	if !u.w.SkipZero || !u.w.Act.Sparse() {
		return
	}
	tokens, pairs := u.dot.x.Rows, 0
	words := (tokens + 63) / 64
	u.active = grow(u.active, len(u.sel))[:0]
	if tokens > 1 {
		u.wants = grow(u.wants, len(u.w.IDs)*words)
	}
	for n, i := range u.sel {
		h := u.of(n)
		if tokens == 1 {
			if h[0] != 0 {
				u.active = append(u.active, i)
			}
			continue
		}
		wants, any := u.wants[int(i)*words:][:words], uint64(0)
		clear(wants)
		for t, v := range h {
			if v != 0 {
				wants[t>>6] |= 1 << (t & 63)
			}
		}
		for _, m := range wants {
			any |= m
			pairs += bits.OnesCount64(m)
		}
		if any != 0 {
			u.active = append(u.active, i)
		}
	}
	u.sel = u.active
	// Tiles of all tokens do more, twice as fast.
	if tokens > 1 && 2*pairs < tokens*len(u.sel) {
		u.w.Wants, u.w.WantWords = u.wants, words
	}
}

// GateBytes is the memory beside its operands that a backend needs for layers of
// ffn neurons of three parts, in segments of up to hidden activations.
func GateBytes(ffn, hidden int) int64 {
	// Of 64 tokens or fewer a word for each neuron, of more at most 2 for each 64.
	return 4*int64(roomFor(ffn)) + 8*int64(roomFor(max(ffn, hidden/32)))
}

func (u *up) run(lo, hi, worker int) {
	s := &u.scratch[worker]
	if u.w.Wants == nil && u.dot.tiles() {
		u.dot.tile(s, u, lo, hi)
		return
	}
	ahead := aheadRows(u.s.DType.RowBytes(u.s.Cols))
	for n := lo; n < hi; n++ {
		if rows := u.together(n, hi); rows > ahead { // fewer are read faster one by one, if others follow
			n += u.matVec(n, rows, s.out[:]) - 1
			continue
		}
		next := u.row(n)
		if n+ahead < hi {
			next = u.row(n + ahead)
		}
		if u.w.Wants == nil {
			out := s.out[:u.dot.x.Rows] // fewer than a tile's
			u.dot.all(out, u.dot.ready(s, u.row(n)), next)
			u.put(n, 0, out)
			continue
		}
		u.begin(n)
		for t := range u.of(n) {
			if u.w.Wanted(int(u.sel[n]), t) {
				s.out[0] = u.dot.row(u.dot.ready(s, u.row(n)), t, next)
				u.put(n, t, s.out[:1])
			}
		}
	}
}

// together is how many neurons of sel from the n-th on, before the end-th, are
// rows of a matrix for one token: parts that follow one another, as do their
// activations.
func (u *up) together(n, end int) int {
	if u.s.PartStride == 0 || u.dot.x.Rows > 1 || u.w.Wants != nil || u.dot.form == decoded {
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

// matVec computes up to rows neurons from the n-th on, which are together. Second
// products go through out, which says how many they are.
func (u *up) matVec(n, rows int, out []float32) int {
	products := u.h[u.sel[n]:][:rows]
	if u.part == 1 {
		rows = min(rows, len(out))
		products = out[:rows]
	}
	rowBytes := int(u.s.Stride)
	first := int64(u.part)*u.s.PartStride + int64(u.w.Slots[u.sel[n]]-u.s.First)*u.s.Stride
	u.dot.MatVec(products, u.s.Data[first:][:rows*rowBytes], rowBytes, u.dot.inputs, u.dot.k.Ahead)
	for k, v := range products {
		u.set(&u.h[int(u.sel[n])+k], v+u.bias(n+k))
	}
	return rows
}

// row is the part at hand of the n-th neuron of sel.
func (u *up) row(n int) []byte { return u.s.Vec(u.w.Slots[u.sel[n]], u.part) }

// of is the activations of the n-th neuron of sel, [tokens].
func (u *up) of(n int) []float32 {
	i := int(u.sel[n])
	return u.h[i*u.dot.x.Rows : (i+1)*u.dot.x.Rows]
}

// begin zeroes the activations of the n-th neuron of sel, of which only some are
// put.
func (u *up) begin(n int) {
	if u.part == 0 {
		clear(u.of(n))
	}
}

// put takes products of the n-th neuron of sel from token t on.
func (u *up) put(n, t int, products []float32) {
	h, bias := u.of(n)[t:], u.bias(n)
	for i, v := range products {
		u.set(&h[i], v+bias)
	}
}

// bias is what is added to the products of the n-th neuron of sel.
func (u *up) bias(n int) float32 {
	bias := u.w.Bias
	if u.part == 1 {
		bias = u.w.SecondBias
	}
	if bias == nil {
		return 0
	}
	return bias[u.w.IDs[u.sel[n]]]
}

// set makes an activation of the part at hand of a product.
func (u *up) set(h *float32, v float32) {
	switch {
	case u.part == 0:
		*h = activate(u.w.Act, v, u.w.Threshold)
	case *h == 0 && u.w.Act.Sparse():
	default:
		*h *= second(u.w.Act, v)
	}
}

func (u *up) column(n, t int, products []float32) {
	for i := range products {
		u.put(n+i, t, products[i:i+1])
	}
}
