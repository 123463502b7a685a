package cpu

import (
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// tileBytes is the weights that stay in a core's cache while all tokens pass
// by: half of the level-2 cache of an EPYC (Zen 4), of which the tokens'
// panel takes a tenth at OPT-6.7B's width. The larger, the less often tokens
// are laid out in panels.
const tileBytes = 512 << 10

// tile is what one thread needs to compute tiles.
type tile struct {
	panel []float32 // [TileTokens, cols], see kernel.Set.PanelRow
	out   [kernel.TileRows * kernel.TileTokens]float32
	w16   [kernel.TileRows][]uint16
	w32   [kernel.TileRows][]float32
	w8    [kernel.QuantRows][]byte
	w4    [4][]byte // see down.oneToken
	next4 [4]*byte
	out8  [kernel.QuantRows * kernel.QuantTokens]float32
	want8 wantLists
	// strip is [neurons, OuterCols] of the second half of neurons or, in place
	// of it, widened rows.
	strip []float32
	_     [64]byte // no cache line of two threads
}

// TileBytes is the memory beside its operands that a backend of threads threads
// needs for steps of tokens tokens with matrices of up to cols columns and MLP
// segments of up to hidden activations.
func TileBytes(threads, cols, tokens, hidden int) int64 {
	room := func(n int) int64 { return 4 * int64(roomFor(n)) }
	each := room(kernel.TileTokens*cols) + room(downBlock*kernel.OuterCols)
	blocks := hidden/tokens/downBlock + 1
	return int64(threads)*each + room(blocks*tokens) + 2*room(hidden)
}

// tiled is an operation made of dot products of weight rows with activations.
type tiled interface {
	// row is the i-th weight row.
	row(i int) []byte
	// put takes the i-th row's products with the tokens from t on. It may get
	// the same ones again.
	put(i, t int, products []float32)
}

// tiles reports whether products with all rows of x come in tiles.
func (d dotFunc) tiles() bool { return d.x.Rows >= kernel.TileTokens }

// tile multiplies the rows lo to hi of an operation with all rows of x, of
// which there are enough for a tile. The products have the bits of row's.
func (d dotFunc) tile(s *tile, op tiled, lo, hi int) {
	block := tileRows(tileBytes, d.dt.RowBytes(d.x.Cols))
	if d.wide() {
		block = wideRows(d.x.Cols)
	}
	for ; lo < hi; lo += block {
		switch end := min(lo+block, hi); {
		case !d.dt.Quantised():
			d.block(s, op, lo, end)
		case d.wide():
			d.wideBlock(s, op, lo, end)
		default:
			d.quantFours(s, op, lo, end)
		}
	}
}

// block is tile for rows that stay in a core's cache.
func (d dotFunc) block(s *tile, op tiled, lo, hi int) {
	s.panel = grow(s.panel, kernel.TileTokens*d.x.Cols)
	for t := 0; t < d.x.Rows; t += kernel.TileTokens {
		t = min(t, d.x.Rows-kernel.TileTokens) // the last tile overlaps the one before
		for j := range kernel.TileTokens {
			d.k.PanelRow(s.panel, j, d.x.Row(t+j))
		}
		for i := lo; i < hi; i += kernel.TileRows {
			d.oneTile(s, op, i, hi)
			for j := range min(kernel.TileRows, hi-i) {
				op.put(i+j, t, s.out[j*kernel.TileTokens:][:kernel.TileTokens])
			}
		}
	}
}

// quantFours is block for quantised rows that tiles cannot take.
func (d dotFunc) quantFours(s *tile, op tiled, lo, hi int) {
	const four = 4
	for t := 0; t < d.x.Rows; t += four {
		t = min(t, d.x.Rows-four)
		for i := lo; i < hi; i++ {
			row := op.row(i)
			products := d.four(row, t, row)
			copy(s.out[:], products[:])
			op.put(i, t, s.out[:four])
		}
	}
}

// oneTile sets s.out to the products of s.panel with the rows from i on; in
// place of rows from hi on it takes the last before that.
func (d dotFunc) oneTile(s *tile, op tiled, i, hi int) {
	if d.dt == tensor.F32 {
		for j := range s.w32 {
			s.w32[j] = as[float32](op.row(min(i+j, hi-1)))
		}
		d.k.TileF32(&s.out, &s.w32, s.panel)
		return
	}
	for j := range s.w16 {
		s.w16[j] = as[uint16](op.row(min(i+j, hi-1)))
	}
	if d.dt == tensor.F16 {
		d.k.TileF16(&s.out, &s.w16, s.panel)
	} else {
		d.k.TileBF16(&s.out, &s.w16, s.panel)
	}
}

// rows sets s.out to the products of the rows ns, a tile's or fewer, with
// row t of x.
func (d dotFunc) rows(s *tile, op tiled, ns []int, t int) {
	if len(ns) == 1 || d.dt.Quantised() {
		for j, n := range ns {
			s.out[j] = d.row(op.row(n), t, nil)
		}
		return
	}
	x := d.x.Row(t)
	out := (*[kernel.TileRows]float32)(s.out[:])
	if d.dt == tensor.F32 {
		for j := range s.w32 {
			s.w32[j] = as[float32](op.row(ns[min(j, len(ns)-1)]))
		}
		d.k.RowsF32(out, &s.w32, x)
		return
	}
	for j := range s.w16 {
		s.w16[j] = as[uint16](op.row(ns[min(j, len(ns)-1)]))
	}
	if d.dt == tensor.F16 {
		d.k.RowsF16(out, &s.w16, x)
	} else {
		d.k.RowsBF16(out, &s.w16, x)
	}
}

// tileRows is how many whole tiles' rows of rowBytes there are in bytes, one
// tile's at least.
func tileRows(bytes, rowBytes int64) int {
	return int(max(1, bytes/rowBytes/kernel.TileRows)) * kernel.TileRows
}

// tileUnits is how many of rows rows a thread takes at a time: few enough that
// all threads end at about the same time.
func (b *Backend) tileUnits(rowBytes int64, rows int) int {
	const turns = 4 // of each thread
	share := int64(rows/(turns*b.pool.threads())) * rowBytes
	return tileRows(min(b.tileBytes, share), rowBytes)
}
