package cpu

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// mostPairs is how many pairs of token and expert are computed at once, but all of an
// expert: so many that threads seldom wait for each other, and that memory for them
// is little beside the experts.
const mostPairs = 512

// experts is some experts of a layer. Gate and up of all of them are one operation
// that threads share, and down is another. Each thread has rows of all parts that it
// multiplies with all tokens of the expert, gathered.
type experts struct {
	b       *Backend
	w       *device.ExpertWork
	x, y    device.Act
	forms   [3]form
	records []byte     // [tokens, stride] x, rounded
	rounded device.Act // what records were made of

	// What is computed at once.
	batch   []int32   // experts, by their places in w
	first   []int     // [len(batch)+1] pairs, as in w
	x32     []float32 // [pairs, d] x, where an expert has several tokens
	x8      []byte    // [pairs, stride] or, rounded, records
	h, up   []float32 // [pairs, width]
	h8      []byte    // [pairs, stride] h, rounded
	down    bool      // the part at hand, else gate and up
	most    int       // rows of gate or of half of down
	rows    int       // of these, that a thread takes at a time
	units   int       // of so many rows that an expert has
	workers []expertWork
}

// expertWork is one thread's.
type expertWork struct {
	parts [3]linear
	gate  gate
	_     [64]byte // no cache line of two threads
}

// Experts goes on as long as there is memory for the tokens of several experts.
func (b *Backend) Experts(y, x device.Act, w *device.ExpertWork, sel []int32) {
	e := &b.experts
	e.w, e.x, e.y = w, x, y
	for part, p := range w.Parts {
		e.forms[part] = b.matForm(p.DType)
	}
	if e.wants(chunked) {
		e.round(w.SameInput)
	}
	for len(sel) > 0 {
		if sel = sel[e.take(sel):]; len(e.batch) > 0 {
			e.compute()
		}
	}
}

// wants reports whether gate or up take x in a form.
func (e *experts) wants(f form) bool { return e.forms[0] == f || e.forms[1] == f }

// round rounds x, of which same says that it is what it was.
func (e *experts) round(same bool) {
	last := e.rounded
	if e.rounded = e.x; same && last.Rows == e.x.Rows && last.Cols == e.x.Cols && last.Stride == e.x.Stride &&
		unsafe.SliceData(last.Data) == unsafe.SliceData(e.x.Data) {
		return
	}
	e.records = e.b.records8(e.records, e.x)
}

// records8 is x rounded, in the memory of dst or more.
func (b *Backend) records8(dst []byte, x device.Act) []byte {
	stride := kernel.RoundXBytes(x.Cols)
	dst = grow(dst, (x.Rows+1)*stride) // one more for dotFunc.all
	b.round.d = dotFunc{k: &b.k, form: chunked, x: x, inputs: dst, stride: stride}
	b.pool.run(&b.round, x.Rows, b.units(tensor.F32.RowBytes(x.Cols)))
	return dst
}

// take begins a batch with experts of sel that have tokens. It returns how many it has
// passed.
func (e *experts) take(sel []int32) int {
	e.batch, e.first = e.batch[:0], append(e.first[:0], 0)
	for passed, i := range sel {
		switch n := int(e.w.First[i+1] - e.w.First[i]); {
		case n == 0:
			continue
		case len(e.batch) > 0 && e.pairs()+n > mostPairs:
			return passed
		default:
			e.batch, e.first = append(e.batch, i), append(e.first, e.pairs()+n)
		}
	}
	return len(sel)
}

// pairs is how many the batch has.
func (e *experts) pairs() int { return e.first[len(e.first)-1] }

func (e *experts) compute() {
	pairs, p := e.pairs(), &e.w.Parts
	e.gatherRoom()
	e.b.pool.run((*gather)(e), len(e.batch), 1)
	e.h, e.up = grow(e.h, pairs*p[0].Rows), grow(e.up, pairs*p[0].Rows)
	e.down = false
	e.each(p[0], p[0].Rows)
	if e.forms[2] == chunked {
		e.h8 = e.b.records8(e.h8, device.Act{Data: e.h, Rows: pairs, Cols: p[2].Cols, Stride: p[2].Cols})
	}
	e.down = true
	e.each(p[2], (p[2].Rows+1)/2)
}

// each computes two times most rows, shaped as p's, of each expert, in units of whole
// panels.
func (e *experts) each(p device.ExpertPart, most int) {
	e.most = most
	e.rows = kernel.GemmRows * e.b.units(2*kernel.GemmRows*p.DType.RowBytes(p.Cols))
	e.units = (most + e.rows - 1) / e.rows
	e.b.pool.run(e, len(e.batch)*e.units, 1)
}

// gatherRoom makes room for the inputs of the batch.
func (e *experts) gatherRoom() {
	cols, several := e.w.Parts[0].Cols, e.pairs() > len(e.batch)
	if several && (e.wants(floats) || e.wants(decoded)) {
		e.x32 = grow(e.x32, e.pairs()*cols)
	}
	if several && e.wants(chunked) {
		e.x8 = grow(e.x8, (e.pairs()+1)*kernel.RoundXBytes(cols))
	}
}

// gather copies the inputs of experts of several tokens.
type gather experts

func (g *gather) run(lo, hi, _ int) {
	e := (*experts)(g)
	stride := kernel.RoundXBytes(e.x.Cols)
	for j := lo; j < hi; j++ {
		tokens := e.tokens(j)
		if len(tokens) == 1 {
			continue
		}
		for n, t := range tokens {
			pair := e.first[j] + n
			if e.wants(chunked) {
				copy(e.x8[pair*stride:], e.records[int(t)*stride:][:stride])
			}
			if e.wants(floats) || e.wants(decoded) {
				copy(e.x32[pair*e.x.Cols:], e.x.Row(int(t)))
			}
		}
	}
}

// tokens are those of the j-th expert of the batch.
func (e *experts) tokens(j int) []int32 {
	i := e.batch[j]
	return e.w.Tokens[e.w.First[i]:e.w.First[i+1]]
}

func (e *experts) run(lo, hi, worker int) {
	for lo < hi {
		j := lo / e.units
		end := min(hi, (j+1)*e.units)
		first, last := (lo-j*e.units)*e.rows, min((end-j*e.units)*e.rows, e.most)
		if e.down {
			e.outputs(j, first, last, worker)
		} else {
			e.gated(j, first, last, worker)
		}
		lo = end
	}
}

// outputs computes the outputs lo to hi of the first half of the j-th expert, and as
// many of the second: what one thread reads at a time then follows what it has read in
// either half.
func (e *experts) outputs(j, lo, hi, worker int) {
	l := e.part(j, 2, worker)
	lo2, hi2 := e.most+lo, min(e.most+hi, l.w.Rows)
	if l.dot.x.Rows == 1 && l.dot.form != decoded {
		n := hi2 - lo2
		l.matVec2(l, lo, lo2, n)
		lo, lo2 = lo+n, hi2
	}
	l.run(lo, hi, worker)
	l.run(lo2, hi2, worker)
}

// gated computes activations of the neurons lo to hi of the j-th expert.
func (e *experts) gated(j, lo, hi, worker int) {
	gate, up := e.part(j, 0, worker), e.part(j, 1, worker)
	if gate.dot.x.Rows == 1 && gate.dot.form != decoded && gate.w.DType == up.w.DType {
		gate.matVec2(up, lo, lo, hi-lo)
	} else {
		gate.run(lo, hi, worker)
		up.run(lo, hi, worker)
	}
	g := &e.workers[worker].gate
	g.k, g.act = &e.b.k, e.w.Act
	for t := range gate.y.Rows {
		g.some(gate.y.Row(t)[lo:hi], up.y.Row(t)[lo:hi])
	}
}

// part is a part of the j-th expert as a matrix, for a thread.
func (e *experts) part(j, part, worker int) *linear {
	l, p, i := &e.workers[worker].parts[part], e.w.Parts[part], e.batch[j]
	l.w = device.Mat{Data: e.w.Data[i][part], DType: p.DType, Rows: p.Rows, Cols: p.Cols}
	l.rowBytes, l.scratch = int(p.DType.RowBytes(p.Cols)), e.b.lin.scratch
	if l.bias = nil; e.w.Bias[part] != nil {
		l.bias = e.w.Bias[part][int(e.w.IDs[i])*p.Rows:][:p.Rows]
	}
	n, first, width := len(e.tokens(j)), e.first[j], e.w.Parts[0].Rows
	l.dot = dotFunc{Rows: e.b.k.Rows(p.DType), k: &e.b.k, dt: p.DType, form: e.forms[part], x: device.Act{Rows: n, Cols: p.Cols, Stride: p.Cols}}
	d := &l.dot
	switch part {
	case 0:
		l.y = device.Act{Data: e.h[first*width:], Rows: n, Cols: width, Stride: width}
	case 1:
		l.y = device.Act{Data: e.up[first*width:], Rows: n, Cols: width, Stride: width}
	case 2:
		l.y = e.y.Rowspan(int(e.w.First[i]), n)
	}
	if d.form == chunked {
		d.Rows, d.stride = e.b.k.Blocks[p.DType], kernel.RoundXBytes(p.Cols)
		switch {
		case part == 2:
			d.inputs = e.h8[first*d.stride:]
		case n == 1:
			d.inputs = e.records[int(e.tokens(j)[0])*d.stride:]
		default:
			d.inputs = e.x8[first*d.stride:]
		}
		return l
	}
	if d.form == decoded {
		d.Rows = &e.b.k.F32
	}
	switch {
	case part == 2:
		d.x.Data = e.h[first*width:]
	case n == 1:
		d.x = e.x.Rowspan(int(e.tokens(j)[0]), 1)
	default:
		d.x.Data = e.x32[first*p.Cols:]
	}
	d.inputs, d.stride = kernel.Bytes(d.x.Data), 4*d.x.Stride
	return l
}

// ExpertBytes is the memory beside its operands, and beside TileBytes of the most
// columns of any part, that a backend needs for layers of such experts, k for each
// token, in steps of tokens tokens.
func ExpertBytes(parts [3]device.ExpertPart, tokens, k int) int64 {
	d, width := parts[0].Cols, parts[0].Rows
	pairs := min(tokens*k, max(tokens, mostPairs))
	records := int64(roomFor((tokens+1)*kernel.RoundXBytes(d)) + roomFor((pairs+1)*kernel.RoundXBytes(d)))
	whole := 4 * int64(roomFor(pairs*d)) // where nothing is rounded
	switch float := !parts[0].DType.Quantised(); {
	case float != !parts[1].DType.Quantised():
		whole += records
	case !float:
		whole = max(whole, records)
	}
	return whole + 2*4*int64(roomFor(pairs*width)) + int64(roomFor((pairs+1)*kernel.RoundXBytes(width)))
}

// Combine goes token by token.
func (b *Backend) Combine(y, out device.Act, rows []int32, weights []float32, k int) {
	b.combine = combine{&b.k, y, out, rows, weights, k}
	b.pool.run(&b.combine, y.Rows, b.units(int64(4*k*y.Cols)))
}

type combine struct {
	k       *kernel.Set
	y, out  device.Act
	rows    []int32
	weights []float32
	top     int
}

func (c *combine) run(lo, hi, _ int) {
	for t := lo; t < hi; t++ {
		for j := t * c.top; j < (t+1)*c.top; j++ {
			if row := c.rows[j]; row >= 0 {
				c.k.AxpyF32(c.y.Row(t), c.weights[j], c.out.Row(int(row)), nil)
			}
		}
	}
}
