package cpu

import (
	"iter"
	"math/bits"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Down splits the output's columns between threads, so that every element is
// one sum in ascending neuron id.
func (b *Backend) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	d := &b.down
	d.y, d.h, d.s, d.w = y, h, s, w
	d.rows = d.k.Rows(s.DType)
	switch {
	case y.Rows == 1:
		d.listOne()
	case d.many() && !d.dense():
		d.list()
	}
	d.apart = d.many() && s.DType.Quantised() && len(d.taken) >= apartFrom*len(w.IDs)
	d.width = downStrip
	switch {
	case d.wide() || d.apart:
		d.width = kernel.OuterCols
	case d.many():
		d.width = downStrips
	}
	if d.many() {
		b.pool.run(d, (s.Cols+d.width-1)/d.width, 1)
		return
	}
	strips, units := b.downSplit(s, len(w.IDs), y.Rows)
	b.pool.run(d, strips, units)
}

// downSplit is how many strips of downStrip columns the output of a few tokens
// has, and how many a thread takes at a time. The fewer the cuts, the longer
// the runs of memory that a thread reads.
func (b *Backend) downSplit(s device.Slots, neurons, tokens int) (strips, units int) {
	strips = (s.Cols + downStrip - 1) / downStrip
	least := (strips + b.pool.threads() - 1) / b.pool.threads()
	return strips, max(least, b.units(s.DType.RowBytes(downStrip)*int64(neurons)*int64(tokens)))
}

// colBlocks is the columns j0 to j1 of s, as far as there are, by the blocks that
// they are in: begin and end of each.
func colBlocks(s device.Slots, j0, j1 int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for j1 = min(j1, s.Cols); j0 < j1; {
			end := min(j1, (j0/s.BlockCols()+1)*s.BlockCols())
			if !yield(j0, end) {
				return
			}
			j0 = end
		}
	}
}

const (
	// downStrip is the columns of an MLP's output that stay on one thread: a
	// few cache lines of every element type.
	downStrip = 64
	// downStrips is the columns of which a block of quantised neurons stays in
	// a core's cache while the tokens pass by. It is a multiple of all other
	// widths of a strip.
	downStrips = 4 * downStrip
	// apartFrom is how many tokens are to take a quantised neuron, on average,
	// for it to pay to take its blocks apart first.
	apartFrom = 2
	// downBlock is the neurons of which a thread holds a strip of weights, as
	// float32, while the tokens pass by: a quarter of a level-2 cache.
	downBlock = 512
)

type down struct {
	k       *kernel.Set
	y       device.Act
	h       []float32
	s       device.Slots
	w       device.Work
	rows    *kernel.Rows
	width   int       // of a strip
	apart   bool      // quantised weights are taken apart in strips
	scratch []scratch // [threads]

	// What each token takes of each block of neurons, block after block: the
	// entries of pair block*tokens+token end at ends[block*tokens+token].
	ends  []int32
	taken []int32   // neuron in its block; for one token, the neuron's slot
	value []float32 // activation
}

// many reports whether there are enough tokens for them to pass by the weights.
func (d *down) many() bool { return d.y.Rows >= kernel.TileTokens }

// wide reports whether the weights are widened for that. Quantised ones are
// not: their scale is multiplied with the activation first.
func (d *down) wide() bool { return d.many() && !d.s.DType.Quantised() }

// dense reports whether every token takes every neuron, without lists.
func (d *down) dense() bool { return d.wide() && d.w.Wants == nil && !d.w.SkipZero }

// list makes the lists of what the tokens take.
func (d *down) list() {
	tokens := d.y.Rows
	blocks := (len(d.w.IDs) + downBlock - 1) / downBlock
	d.ends = grow(d.ends, blocks*tokens)
	clear(d.ends)
	d.each(func(i, t int, _ float32) { d.ends[i/downBlock*tokens+t]++ })
	total := int32(0)
	for at, n := range d.ends { // from counts to where entries begin
		d.ends[at] = total
		total += n
	}
	d.taken, d.value = grow(d.taken, int(total)), grow(d.value, int(total))
	d.each(func(i, t int, a float32) {
		at := &d.ends[i/downBlock*tokens+t]
		d.taken[*at], d.value[*at] = int32(i%downBlock), a
		*at++
	})
}

// listOne lists what the only token takes.
func (d *down) listOne() {
	d.taken, d.value = grow(d.taken, len(d.w.IDs))[:0], grow(d.value, len(d.w.IDs))[:0]
	for i, slot := range d.w.Slots {
		if a := d.h[i]; a != 0 || !d.w.SkipZero && d.w.Wanted(i, 0) {
			d.taken, d.value = append(d.taken, slot), append(d.value, a)
		}
	}
}

// entries is where what token t takes of the block from lo on is listed.
func (d *down) entries(lo, t int) (begin, end int32) {
	at := lo/downBlock*d.y.Rows + t
	if at > 0 {
		begin = d.ends[at-1]
	}
	return begin, d.ends[at]
}

// each calls f for every activation that counts, neuron by neuron.
func (d *down) each(f func(i, t int, a float32)) {
	tokens := d.y.Rows
	for i := range d.w.IDs {
		h := d.h[i*tokens : (i+1)*tokens]
		if d.w.Wants == nil {
			for t, a := range h {
				if a != 0 || !d.w.SkipZero {
					f(i, t, a)
				}
			}
			continue
		}
		for word, m := range d.w.Wants[i*d.w.WantWords : (i+1)*d.w.WantWords] {
			for ; m != 0; m &= m - 1 {
				t := word<<6 + bits.TrailingZeros64(m)
				if a := h[t]; a != 0 || !d.w.SkipZero {
					f(i, t, a)
				}
			}
		}
	}
}

// cols is the columns j0 to j1 of the neurons.
func (d *down) cols(j0, j1 int) device.Columns {
	return d.s.Columns(d.s.DType.RowBytes(j0), d.s.DType.RowBytes(j1))
}

func (d *down) run(lo, hi, worker int) {
	if !d.many() {
		for j, end := range colBlocks(d.s, lo*d.width, hi*d.width) {
			if d.y.Rows == 1 {
				d.oneToken(j, end, &d.scratch[worker])
			} else {
				d.columns(j, end)
			}
		}
		return
	}
	for ; lo < hi; lo++ {
		j, end := lo*d.width, min((lo+1)*d.width, d.s.Cols)
		if d.wide() && end-j < d.width {
			d.columns(j, end)
			return
		}
		for first := 0; first < len(d.w.IDs); first += downBlock {
			last := min(first+downBlock, len(d.w.IDs))
			switch {
			case d.wide():
				d.strip(j, first, last, &d.scratch[worker])
			case d.apart && end-j == d.width:
				d.pairs(j, first, last, &d.scratch[worker])
			default:
				d.listed(j, end, first)
			}
		}
	}
}

// strip adds the neurons lo to hi, a block, to OuterCols columns from j on.
func (d *down) strip(j, lo, hi int, s *scratch) {
	d.widen(j, lo, hi, s)
	tokens := d.y.Rows
	if !d.dense() {
		for t := range tokens {
			begin, end := d.entries(lo, t)
			d.k.OuterAt(d.y.Row(t)[j:j+kernel.OuterCols], d.value[begin:end], d.taken[begin:end], s.strip)
		}
		return
	}
	t := 0
	for ; t+kernel.TileTokens <= tokens; t += kernel.TileTokens {
		d.k.Outer(d.y.Data[t*d.y.Stride+j:], d.y.Stride, d.h[lo*tokens+t:], tokens, s.strip)
	}
	for ; t < tokens; t++ {
		y := d.y.Row(t)[j : j+kernel.OuterCols]
		for i := lo; i < hi; i++ {
			d.k.AxpyF32(y, d.h[i*tokens+t], s.strip[(i-lo)*kernel.OuterCols:][:kernel.OuterCols], nil)
		}
	}
}

// listed adds the block of neurons from lo on to the columns j0 to j1.
func (d *down) listed(j0, j1, lo int) {
	cols := d.cols(j0, j1)
	for t := range d.y.Rows {
		y := d.y.Row(t)[j0:j1]
		begin, end := d.entries(lo, t)
		for e := begin; e < end; e++ {
			col := cols.Of(d.w.Slots[lo+int(d.taken[e])])
			d.rows.Axpy(y, d.value[e], col, nil)
		}
	}
}

// widen fills s.strip.
func (d *down) widen(j, lo, hi int, s *scratch) {
	s.strip = grow(s.strip, stripElems)[:(hi-lo)*kernel.OuterCols]
	cols := d.cols(j, j+kernel.OuterCols)
	for i := lo; i < hi; i++ {
		decode(d.k, s.strip[(i-lo)*kernel.OuterCols:][:kernel.OuterCols], cols.Of(d.w.Slots[i]), d.s.DType)
	}
}

// pairs is strip for quantised weights.
func (d *down) pairs(j, lo, hi int, s *scratch) {
	const words, blocks = kernel.OuterCols / 2, kernel.OuterCols / tensor.QuantBlock // of a neuron
	s.strip = grow(s.strip, stripElems)
	codes := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(s.strip))), downBlock*words)
	scales := s.strip[downBlock*words:][:downBlock*blocks]
	cols := d.cols(j, j+kernel.OuterCols)
	col := func(i int) []byte { return cols.Of(d.w.Slots[i]) }
	ahead := aheadRows(d.s.DType.RowBytes(kernel.OuterCols))
	for i := range hi - lo {
		next := col(min(lo+i+ahead, hi-1))
		d.rows.Pairs(codes[i*words:][:words], scales[i*blocks:][:blocks], col(lo+i), unsafe.SliceData(next))
	}
	for t := range d.y.Rows {
		begin, end := d.entries(lo, t)
		next := d.y.Row(min(t+1, d.y.Rows-1))[j:]
		d.k.OuterPairs(d.y.Row(t)[j:][:kernel.OuterCols], d.value[begin:end], d.taken[begin:end], codes, scales, &next[0])
	}
}

// columns adds all neurons to the columns j0 to j1, token by token.
func (d *down) columns(j0, j1 int) {
	tokens := d.y.Rows
	cols, ahead := d.cols(j0, j1), aheadRows(d.s.DType.RowBytes(j1-j0))
	for i, slot := range d.w.Slots {
		col := cols.Of(slot)
		next := col
		if i+ahead < len(d.w.Slots) {
			next = cols.Of(d.w.Slots[i+ahead])
		}
		for t := range tokens {
			a := d.h[i*tokens+t]
			if a == 0 && (d.w.SkipZero || !d.w.Wanted(i, t)) {
				continue
			}
			d.rows.Axpy(d.y.Row(t)[j0:j1], a, col, unsafe.SliceData(next))
		}
	}
}

// oneToken adds what the only token takes to the columns j0 to j1, four neurons
// to one reading and writing of these.
func (d *down) oneToken(j0, j1 int, s *scratch) {
	const four = 4
	y, last := d.y.Row(0)[j0:j1], len(d.taken)-1
	cols, ahead := d.cols(j0, j1), max(four, aheadRows(d.s.DType.RowBytes(j1-j0)))
	col := func(e int) []byte { return cols.Of(d.taken[min(e, last)]) }
	e := 0
	for ; e+four <= len(d.taken); e += four {
		for i := range s.w4 {
			s.w4[i], s.next4[i] = col(e+i), unsafe.SliceData(col(e+i+ahead))
		}
		d.rows.Axpy4(y, (*[four]float32)(d.value[e:]), &s.w4, &s.next4)
	}
	for ; e < len(d.taken); e++ {
		d.rows.Axpy(y, d.value[e], col(e), unsafe.SliceData(col(e+1)))
	}
}
