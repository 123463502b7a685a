package cpu

import (
	"math/bits"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Rows of 16 bits and quantised ones are unpacked once for many tokens: to
// float32, or as [kernel.Rows.Widen] does. A block of them stays in a core's
// level-2 cache while tokens pass by.
const (
	// quantBytes is the memory of a block of quantised rows: a quarter of a
	// level-2 cache. Another quarter is the records of unpackTokens tokens.
	quantBytes   = tileBytes / 2
	unpackTokens = 32
	// mostListed is the most rows of a block of which a token wants some.
	mostListed = 64
)

// unpacks reports whether products with all rows of x come from unpacked rows.
func (d *dotFunc) unpacks() bool {
	switch d.form {
	case grouped:
		return d.x.Rows >= kernel.QuantTokens && kernel.QuantTiles(d.x.Cols)
	case chunked:
		return false
	}
	return d.tiles()
}

// unpackedBytes is the size of an unpacked row.
func (d *dotFunc) unpackedBytes() int {
	if d.form == grouped {
		return kernel.WideBytes(d.x.Cols)
	}
	return 4 * d.x.Cols
}

// floatRows is how many rows of cols elements are unpacked to float32 at a time: at
// most what tileBytes holds of them in 16 bits.
func floatRows(cols int) int { return min(mostListed, tileRows(tileBytes, int64(2*max(1, cols)))) }

// blockRows is how many rows stay in a core's cache.
func (d *dotFunc) blockRows() int {
	switch {
	case d.inPlace():
		return tileRows(tileBytes, d.dt.RowBytes(max(1, d.x.Cols)))
	case d.form == floats || d.form == decoded:
		return floatRows(d.x.Cols)
	case d.gemms():
		return kernel.GemmRows
	case d.unpacks():
		return min(mostListed, tileRows(quantBytes, int64(max(1, d.unpackedBytes()))))
	default:
		return tileRows(tileBytes, d.dt.RowBytes(d.x.Cols))
	}
}

// unpack unpacks the rows lo to hi of an operation, if they are to be.
func (d *dotFunc) unpack(s *scratch, op tiled, lo, hi int) {
	if d.dt == tensor.F32 {
		return
	}
	s.strip = grow(s.strip, max(stripElems, (hi-lo)*d.unpackedBytes()/4))
	ahead := aheadRows(d.dt.RowBytes(d.x.Cols))
	for i := lo; i < hi; i++ {
		to, row := d.unpacked(s, op, i, lo), op.row(i)
		if d.form != grouped {
			decode(d.k, kernel.Elements[float32](to), row, d.dt)
		} else {
			d.Widen(to, row, unsafe.SliceData(op.row(min(i+ahead, hi-1))))
		}
	}
}

// unpacked is row i of an operation of which the rows from lo on are unpacked.
func (d *dotFunc) unpacked(s *scratch, op tiled, i, lo int) []byte {
	if d.dt == tensor.F32 {
		return op.row(i)
	}
	n, at := d.unpackedBytes(), i-lo
	return kernel.Bytes(s.strip)[at*n : (at+1)*n : (at+1)*n]
}

// one is row i for Dot, of rows of which those from lo on are unpacked.
func (d *dotFunc) one(s *scratch, op tiled, i, lo int) []byte {
	if d.form == decoded {
		return d.unpacked(s, op, i, lo)
	}
	return op.row(i)
}

// byBlocks reports whether tokens, each of which wants neurons of its own, pass
// by blocks of unpacked neurons: whether there are enough of them for that to pay
// where each wants few.
func (u *up) byBlocks() bool {
	return u.w.Wants != nil && u.dot.unpacks() && u.dot.x.Rows >= unpackTokens
}

// upBlocks is up by blocks of neurons.
type upBlocks up

// wantLists is which rows of a block each of 64 tokens wants.
type wantLists struct {
	rows [64][mostListed]uint8
	n    [64]uint8
}

func (p *upBlocks) run(lo, hi, worker int) {
	u := (*up)(p)
	s := &u.scratch[worker]
	for block := u.listedRows(); lo < hi; lo += block {
		end := min(lo+block, hi)
		u.dot.unpack(s, u, lo, end)
		for n := lo; n < end; n++ {
			u.begin(n)
		}
		for word := range u.w.WantWords {
			u.list(&s.wants, word, lo, end)
			for t, n := range s.wants.n {
				if n > 0 {
					u.wanted(s, lo, s.wants.rows[t][:n], word<<6+t)
				}
			}
		}
	}
}

// listedRows is how many neurons are a block of which tokens want some.
func (u *up) listedRows() int {
	if u.dot.form == grouped {
		return u.dot.blockRows()
	}
	return floatRows(u.dot.x.Cols)
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
func (u *up) wanted(s *scratch, lo int, rows []uint8, t int) {
	for ; len(rows) > 1; rows = rows[min(kernel.TileRows, len(rows)):] {
		u.four(s, lo, rows, t)
		for j, r := range rows[:min(kernel.TileRows, len(rows))] {
			u.put(lo+int(r), t, s.out[j:j+1])
		}
	}
	for _, r := range rows {
		s.out[0] = u.dot.row(u.dot.one(s, u, lo+int(r), lo), t, nil)
		u.put(lo+int(r), t, s.out[:1])
	}
}

// four sets s.out to the products of the first four of rows, or of as many as
// there are, with token t.
func (u *up) four(s *scratch, lo int, rows []uint8, t int) {
	d := &u.dot
	for j := range kernel.TileRows {
		w := d.unpacked(s, u, lo+int(rows[min(j, len(rows)-1)]), lo)
		s.w8[j], s.w32[j] = w, kernel.Elements[float32](w)
	}
	if d.form != grouped {
		d.k.RowsF32((*[kernel.TileRows]float32)(s.out[:]), &s.w32, d.x.Row(t))
		return
	}
	out := s.quantOut()
	d.Tile(out, &s.w8, d.input(t), d.stride, 1)
	for j := range kernel.QuantRows {
		out[j] = out[j*kernel.QuantTokens]
	}
}
