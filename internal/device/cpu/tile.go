package cpu

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	// tileBytes is the stored weights that stay in a core's cache while all tokens
	// pass by: a part of a level-2 cache. The larger, the less often tokens are laid
	// out in panels.
	tileBytes = 512 << 10
	// stripElems is the float32 of a thread for weights of the second part of
	// neurons.
	stripElems = downBlock * kernel.OuterCols
)

// scratch is what one thread needs for operations on many tokens.
type scratch struct {
	panel []float32 // [TileTokens, cols], see kernel.Set.PanelRow
	out   [kernel.TileRows * kernel.TileTokens]float32
	w32   [kernel.TileRows][]float32
	w16   [kernel.TileRows][]uint16
	w8    [kernel.QuantRows][]byte
	w4    [4][]byte // see down.oneToken
	next4 [4]*byte
	rows  [kernel.PanelRows][]byte
	wants wantLists
	// strip is [neurons, OuterCols] of the second part of neurons or, in place
	// of it, unpacked rows.
	strip []float32
	gemm  *kernel.GemmSpace
	_     [64]byte // no cache line of two threads
}

// quantOut is where products of quantised rows go.
func (s *scratch) quantOut() *[kernel.QuantRows * kernel.QuantTokens]float32 {
	return (*[kernel.QuantRows * kernel.QuantTokens]float32)(s.out[:])
}

// TileBytes is the memory beside its operands that a backend of threads threads
// needs for steps of tokens tokens with matrices of up to cols columns and MLP
// segments of up to hidden activations.
func TileBytes(threads, cols, tokens, hidden int) int64 {
	room := func(n int) int64 { return 4 * int64(roomFor(n)) }
	each := room(kernel.TileTokens*cols) + room(max(stripElems, floatRows(cols)*cols, panelElems(cols))) + int64(unsafe.Sizeof(kernel.GemmSpace{}))
	blocks := hidden/tokens/downBlock + 1
	return int64(threads)*each + room(blocks*tokens) + 2*room(hidden)
}

// tiled is an operation made of dot products of weight rows with activations.
type tiled interface {
	// row is the i-th weight row.
	row(i int) []byte
	// put takes the i-th row's products with the tokens from t on, each once.
	put(i, t int, products []float32)
	// column takes the products of the rows from i on with token t, each once.
	column(i, t int, products []float32)
}

// panelElems is the size of two panels, in float32.
func panelElems(cols int) int { return 2 * kernel.PanelBytes(cols) / 4 }

// tiles reports whether products with all rows of x come in tiles.
func (d *dotFunc) tiles() bool { return d.x.Rows >= kernel.TileTokens }

// tile multiplies the rows lo to hi of an operation with all rows of x, of
// which there are enough for a tile. The products have the bits of row's.
func (d *dotFunc) tile(s *scratch, op tiled, lo, hi int) {
	for block := d.blockRows(); lo < hi; lo += block {
		switch end := min(lo+block, hi); {
		case d.form == floats || d.form == decoded:
			d.floatBlock(s, op, lo, end)
		case d.gemms():
			d.gemmBlock(s, op, lo, end)
		case d.unpacks():
			d.quantBlock(s, op, lo, end)
		default:
			d.quantFours(s, op, lo, end)
		}
	}
}

// floatBlock is tile for rows of floats that stay in a core's cache.
func (d *dotFunc) floatBlock(s *scratch, op tiled, lo, hi int) {
	if !d.inPlace() {
		d.unpack(s, op, lo, hi)
	}
	s.panel = grow(s.panel, kernel.TileTokens*d.x.Cols)
	for from := 0; from < d.x.Rows; from += kernel.TileTokens {
		t := min(from, d.x.Rows-kernel.TileTokens) // the last tile overlaps the one before
		for j := range kernel.TileTokens {
			d.k.PanelRow(s.panel, j, d.x.Row(t+j))
		}
		for i := lo; i < hi; i += kernel.TileRows {
			d.oneTile(s, op, i, lo, hi)
			for j := range min(kernel.TileRows, hi-i) {
				op.put(i+j, from, s.out[j*kernel.TileTokens:][from-t:kernel.TileTokens])
			}
		}
	}
}

// inPlace reports whether a tile takes rows as they are stored.
func (d *dotFunc) inPlace() bool {
	return d.dt == tensor.F32 || d.dt == tensor.F16 && d.k.TileF16 != nil
}

// oneTile sets s.out to the products of s.panel with the rows from i on, of those
// from lo to hi; in place of rows from hi on it takes the last before that.
func (d *dotFunc) oneTile(s *scratch, op tiled, i, lo, hi int) {
	if d.dt == tensor.F16 && d.inPlace() {
		for j := range s.w16 {
			s.w16[j] = kernel.Elements[uint16](op.row(min(i+j, hi-1)))
		}
		d.k.TileF16(&s.out, &s.w16, s.panel)
		return
	}
	for j := range s.w32 {
		s.w32[j] = kernel.Elements[float32](d.unpacked(s, op, min(i+j, hi-1), lo))
	}
	d.k.TileF32(&s.out, &s.w32, s.panel)
}

// quantBlock is floatBlock for quantised rows.
func (d *dotFunc) quantBlock(s *scratch, op tiled, lo, hi int) {
	d.unpack(s, op, lo, hi)
	out := s.quantOut()
	for first := 0; first < d.x.Rows; first += unpackTokens {
		last := min(first+unpackTokens, d.x.Rows)
		for i := lo; i < hi; i += kernel.QuantRows {
			for j := range s.w8 {
				s.w8[j] = d.unpacked(s, op, min(i+j, hi-1), lo)
			}
			for from := first; from < last; from += kernel.QuantTokens {
				t := min(from, d.x.Rows-kernel.QuantTokens) // the last tile overlaps the one before
				d.Tile(out, &s.w8, d.input(t), d.stride, kernel.QuantTokens)
				for j := range min(kernel.QuantRows, hi-i) {
					op.put(i+j, from, out[j*kernel.QuantTokens:][from-t:kernel.QuantTokens])
				}
			}
		}
	}
}

// gemms reports whether products with all rows of x are of panels.
func (d *dotFunc) gemms() bool {
	return d.form == chunked && d.Gemm != nil && d.x.Rows >= kernel.GemmTokens
}

// gemmBlock is quantBlock for rows that are laid out in panels.
func (d *dotFunc) gemmBlock(s *scratch, op tiled, lo, hi int) {
	if s.gemm == nil {
		s.gemm = new(kernel.GemmSpace)
	}
	s.strip = grow(s.strip, max(stripElems, panelElems(d.x.Cols)))
	size, all := kernel.PanelBytes(d.x.Cols), kernel.Bytes(s.strip)
	panels := [2][]byte{all[:size], all[size : 2*size]}
	for p, panel := range panels {
		for j := range s.rows {
			s.rows[j] = op.row(min(lo+p*kernel.PanelRows+j, hi-1))
		}
		d.Gemm.Panel(panel, &s.rows, s.gemm)
	}
	for from := 0; from < d.x.Rows; from += kernel.GemmTokens {
		t := min(from, d.x.Rows-kernel.GemmTokens) // the last overlaps the one before
		d.Gemm.Multiply(panels, d.x.Cols, d.input(t), d.stride, s.gemm)
		for j := from - t; j < kernel.GemmTokens; j++ {
			op.column(lo, t+j, s.gemm.Out[j*kernel.GemmRows:][:hi-lo])
		}
	}
}

// quantFours is quantBlock for rows that tiles cannot take.
func (d *dotFunc) quantFours(s *scratch, op tiled, lo, hi int) {
	const four = 4
	for from := 0; from < d.x.Rows; from += four {
		t := min(from, d.x.Rows-four)
		for i := lo; i < hi; i++ {
			*(*[four]float32)(s.out[:]) = d.Dot4(op.row(i), d.input(t), d.stride, nil)
			op.put(i, from, s.out[from-t:four])
		}
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

// gemmUnits is units for whole panels.
func gemmUnits(units int) int { return max(1, units/kernel.GemmRows) * kernel.GemmRows }
