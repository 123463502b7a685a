package cpu

import (
	"math/bits"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Quantised rows are unpacked once for many tokens ([kernel.Set.WidenQ8]). A
// block of them stays in a core's level-2 cache while tokens pass by.
const (
	// wideBytes is the memory of a block: a quarter of the level-2 cache of an
	// EPYC (Zen 4). Another quarter is the records of wideTokens tokens at
	// OPT-6.7B's width.
	wideBytes  = 4 * downBlock * kernel.OuterCols // which a thread has anyway
	wideTokens = 32
	// mostWide is the most rows of a block.
	mostWide = 64
)

// wideRows is how many rows of cols elements are a block.
func wideRows(cols int) int {
	n := min(mostWide, wideBytes/max(1, kernel.WideBytes(cols)))
	return max(1, n/kernel.QuantRows) * kernel.QuantRows
}

// wide reports whether products with all rows of x come in tiles of widened
// rows.
func (d dotFunc) wide() bool {
	return d.dt.Quantised() && d.x.Rows >= kernel.QuantTokens && kernel.QuantTiles(d.x.Cols)
}

// widen unpacks the rows lo to hi of an operation.
func (d dotFunc) widen(s *tile, op tiled, lo, hi int) {
	one := d.k.WidenQ8
	if d.dt == tensor.Q4_0 {
		one = d.k.WidenQ4
	}
	s.strip = grow(s.strip, max(wideBytes, (hi-lo)*kernel.WideBytes(d.x.Cols))/4)
	ahead := aheadRows(d.dt.RowBytes(d.x.Cols))
	for i := lo; i < hi; i++ {
		one(s.wide(i-lo, d.x.Cols), op.row(i), unsafe.SliceData(op.row(min(i+ahead, hi-1))))
	}
}

// wide is the i-th widened row of cols elements.
func (s *tile) wide(i, cols int) []byte {
	n := kernel.WideBytes(cols)
	all := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s.strip))), 4*len(s.strip))
	return all[i*n : (i+1)*n : (i+1)*n]
}

// wideBlock is block for quantised rows.
func (d dotFunc) wideBlock(s *tile, op tiled, lo, hi int) {
	kern := d.k.TileQ8
	if d.dt == tensor.Q4_0 {
		kern = d.k.TileQ4
	}
	d.widen(s, op, lo, hi)
	for first := 0; first < d.x.Rows; first += wideTokens {
		last := min(first+wideTokens, d.x.Rows)
		for i := lo; i < hi; i += kernel.QuantRows {
			for j := range s.w8 {
				s.w8[j] = s.wide(min(i+j, hi-1)-lo, d.x.Cols)
			}
			for t := first; t < last; t += kernel.QuantTokens {
				t = min(t, d.x.Rows-kernel.QuantTokens) // the last tile overlaps the one before
				kern(&s.out8, &s.w8, d.records[t*d.stride:], d.stride)
				for j := range min(kernel.QuantRows, hi-i) {
					op.put(i+j, t, s.out8[j*kernel.QuantTokens:][:kernel.QuantTokens])
				}
			}
		}
	}
}

// byWide reports whether tokens, each of which wants neurons of its own, pass
// by blocks of widened neurons: whether there are enough of them for widening
// to pay where each wants few.
func (u *up) byWide() bool { return u.w.Wants != nil && u.dot.wide() && u.dot.x.Rows >= wideTokens }

// upWide is up by blocks of neurons.
type upWide up

// wantLists is which rows of a block each of 64 tokens wants.
type wantLists struct {
	rows [64][mostWide]uint8
	n    [64]uint8
}

func (p *upWide) run(lo, hi, worker int) {
	u := (*up)(p)
	s := &u.scratch[worker]
	for block := wideRows(u.s.Cols); lo < hi; lo += block {
		end := min(lo+block, hi)
		u.dot.widen(s, u, lo, end)
		for n := lo; n < end; n++ {
			clear(u.of(n))
		}
		for word := range u.w.WantWords {
			u.list(&s.want8, word, lo, end)
			for t, n := range s.want8.n {
				if n > 0 {
					u.wanted(s, lo, s.want8.rows[t][:n], word<<6+t)
				}
			}
		}
	}
}

// list lists who of the neurons lo to hi is wanted by the tokens of a word.
func (u *up) list(l *wantLists, word, lo, hi int) {
	clear(l.n[:])
	for n := lo; n < hi; n++ {
		for m := u.w.Wants[int(u.sel[n])*u.w.WantWords+word]; m != 0; m &= m - 1 {
			t := bits.TrailingZeros64(m)
			l.rows[t][l.n[t]] = uint8(n - lo)
			l.n[t]++
		}
	}
}

// wanted computes the neurons lo+rows[i], of a block from lo on, for token t.
func (u *up) wanted(s *tile, lo int, rows []uint8, t int) {
	kern := u.dot.k.RowsQ8
	if u.dot.dt == tensor.Q4_0 {
		kern = u.dot.k.RowsQ4
	}
	x := u.dot.records[t*u.dot.stride:]
	out := (*[kernel.QuantRows]float32)(s.out8[:])
	for ; len(rows) > 1; rows = rows[min(kernel.QuantRows, len(rows)):] {
		for j := range s.w8 {
			s.w8[j] = s.wide(int(rows[min(j, len(rows)-1)]), u.s.Cols)
		}
		kern(out, &s.w8, x)
		for j, r := range rows[:min(kernel.QuantRows, len(rows))] {
			u.put(lo+int(r), t, out[j:j+1])
		}
	}
	for _, r := range rows {
		out[0] = u.dot.row(u.row(lo+int(r)), t, nil)
		u.put(lo+int(r), t, out[:1])
	}
}
