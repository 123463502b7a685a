// Package cpu is the backend that computes on the processor, with the SIMD
// kernels of package kernel or, as the oracle of tests, their plain-Go twins.
//
// Work is split between threads by output: rows of a matrix, heads of a
// token, columns of an MLP's output. Each output is computed by one thread in
// one order, so results are the same bits whatever the number of threads, the
// number of tokens computed together and the set of kernels. Operations too
// small to be worth splitting run on the caller's thread alone.
//
// A steady state allocates nothing: scratch grows to the largest operation
// and the longest context seen, and stays.
package cpu

import (
	"math"
	"math/bits"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
)

// grainBytes is how much weight data a thread takes at a time. Measured on two
// shared cores of an EPYC (Zen 4), where one thread reads 22 to 25 GB/s and two
// 30, with float16 rows of 1,024, fifth percentiles: of an operation on 1 MiB,
// 40 us on one thread, two take 43 us in chunks of 16 KiB, 38 in 32 KiB, 33 in
// 64 KiB and 34 in 128 KiB. In chunks of 64 KiB two threads gain from 192 KiB
// on (7.3 us to 6.6 us) and lose nothing below.
const grainBytes = 64 << 10

// Backend computes on the processor. It has threads: Close it.
type Backend struct {
	k     kernel.Set
	pool  *pool
	grain int64 // bytes; grainBytes but in tests
	// One task value per operation, reused so that a step allocates nothing.
	lin    linear
	att    attend
	sk     sketch
	up     up
	down   down
	codes  []int8    // [tokens, padded cols] quantised activations
	scales []float32 // [tokens]
	sums   []int32   // [tokens]
}

var _ device.Backend = (*Backend)(nil)

// New makes a backend of threads threads, 1 or more, over the kernels of k.
func New(k kernel.Set, threads int) *Backend {
	b := &Backend{k: k, pool: newPool(threads), grain: grainBytes}
	b.lin.k, b.att.k, b.sk.k, b.up.k, b.down.k = &b.k, &b.k, &b.k, &b.k, &b.k
	b.lin.out = make(perWorker, threads)
	b.att.scores = make(perWorker, threads)
	return b
}

// Name is "cpu/" and the instruction set.
func (b *Backend) Name() string { return "cpu/" + b.k.Name }

// Close ends the threads.
func (b *Backend) Close() { b.pool.close() }

// Norm normalises with sums in float64, which costs nothing beside the
// matrices and leaves no doubt about order.
func (b *Backend) Norm(y, x device.Act, p device.NormParams) {
	for r := range x.Rows {
		norm(y.Row(r), x.Row(r), p)
	}
}

func norm(y, x []float32, p device.NormParams) {
	var mean, square float64
	if p.Kind == config.LayerNorm {
		for _, v := range x {
			mean += float64(v)
		}
		mean /= float64(len(x))
	}
	for _, v := range x {
		d := float64(v) - mean
		square += d * d
	}
	inv := 1 / math.Sqrt(square/float64(len(x))+float64(p.Eps))
	for i, v := range x {
		n := float32((float64(v) - mean) * inv)
		if p.Weight != nil {
			n *= p.Weight[i]
		}
		if p.Bias != nil {
			n += p.Bias[i]
		}
		y[i] = n
	}
}

// Add adds row by row.
func (b *Backend) Add(y, x device.Act) {
	for r := range x.Rows {
		yr, xr := y.Row(r), x.Row(r)
		for i, v := range xr {
			yr[i] += v
		}
	}
}

// Linear reads each weight row once for all tokens.
func (b *Backend) Linear(y, x device.Act, w device.Mat, bias []float32) {
	b.lin.y, b.lin.x, b.lin.w, b.lin.bias = y, x, w, bias
	b.lin.dot = rowDot(b.lin.k, w.DType)
	rowBytes := w.DType.RowBytes(w.Cols)
	b.pool.run(&b.lin, w.Rows, b.units(rowBytes*int64(x.Rows)))
}

// units is how many units of unitBytes a thread takes at a time.
func (b *Backend) units(unitBytes int64) int { return int(max(1, b.grain/max(1, unitBytes))) }

type linear struct {
	k    *kernel.Set
	y, x device.Act
	w    device.Mat
	bias []float32
	dot  dotFunc
	out  perWorker
}

func (l *linear) run(lo, hi, worker int) {
	out := l.out.of(worker, l.x.Rows)
	rowBytes := int(l.w.DType.RowBytes(l.w.Cols))
	for r := lo; r < hi; r++ {
		row := l.w.Data[r*rowBytes : (r+1)*rowBytes]
		add := float32(0)
		if l.bias != nil {
			add = l.bias[r]
		}
		l.dot.all(out, row, l.x, nil)
		for t, v := range out {
			l.y.Data[t*l.y.Stride+r] = v + add
		}
	}
}

// Attend computes each head of each token on its own: scores, softmax, sum of
// values, in the order of positions.
func (b *Backend) Attend(y, q device.Act, c *kv.Cache, layer int, spans []device.Span, p device.AttendParams) {
	b.att.y, b.att.q, b.att.c, b.att.layer, b.att.spans, b.att.p = y, q, c, layer, spans, p
	b.att.dot, b.att.axpy = rowDot(b.att.k, c.DType()), rowAxpy(b.att.k, c.DType())
	longest := 0
	for _, s := range spans {
		longest = max(longest, s.Pos+s.N)
	}
	headBytes := 2 * int64(longest) * c.DType().RowBytes(p.HeadDim)
	b.pool.run(&b.att, q.Rows*p.Heads, b.units(headBytes))
}

type attend struct {
	k      *kernel.Set
	y, q   device.Act
	c      *kv.Cache
	layer  int
	spans  []device.Span
	p      device.AttendParams
	dot    dotFunc
	axpy   axpyFunc
	scores perWorker // [context]
}

// run takes the tokens of one head before the next head: they read the same
// keys and values, and early tokens, which see few, do not all fall to one
// thread.
func (a *attend) run(lo, hi, worker int) {
	for u := lo; u < hi; u++ {
		head, token := u/a.q.Rows, u%a.q.Rows
		at := token
		for _, s := range a.spans {
			if at < s.N {
				a.head(token, head, s.Seq, s.Pos+at+1, a.scores.of(worker, s.Pos+at+1))
				break
			}
			at -= s.N
		}
	}
}

// head attends from one query to the first n positions of seq.
func (a *attend) head(token, head int, seq *kv.Seq, n int, scores []float32) {
	hd := a.p.HeadDim
	kvHead := head / (a.p.Heads / a.p.KVHeads)
	q := a.q.Row(token)[head*hd : (head+1)*hd]
	y := a.y.Row(token)[head*hd : (head+1)*hd]
	row := int(a.c.DType().RowBytes(hd))
	top := float32(math.Inf(-1))
	for first := 0; first < n; first += kv.PageTokens {
		keys, _ := a.c.Page(a.layer, seq, first/kv.PageTokens, kvHead)
		for i := range min(kv.PageTokens, n-first) {
			s := a.dot.one(keys[i*row:(i+1)*row], q, nil) * a.p.Scale
			scores[first+i] = s
			top = max(top, s)
		}
	}
	var sum float64
	for i, s := range scores {
		e := math.Exp(float64(s - top))
		scores[i] = float32(e)
		sum += e
	}
	clear(y)
	inv := float32(1 / sum)
	for first := 0; first < n; first += kv.PageTokens {
		_, values := a.c.Page(a.layer, seq, first/kv.PageTokens, kvHead)
		for i := range min(kv.PageTokens, n-first) {
			a.axpy.add(y, scores[first+i]*inv, values[i*row:(i+1)*row], nil)
		}
	}
}

// Sketch quantises the activations to 8 bits and multiplies in integers, so
// its result is the same on every instruction set.
func (b *Backend) Sketch(y, x device.Act, w device.SketchMat) {
	padded := 2 * w.RowBytes
	b.codes = grow(b.codes, x.Rows*padded)
	b.scales, b.sums = grow(b.scales, x.Rows), grow(b.sums, x.Rows)
	for t := range x.Rows {
		q := b.codes[t*padded : (t+1)*padded]
		clear(q[w.Cols:])
		b.scales[t], b.sums[t] = b.k.QuantizeS8(q[:w.Cols], x.Row(t))
	}
	b.sk.y, b.sk.w = y, w
	b.sk.codes, b.sk.scales, b.sk.sums = b.codes, b.scales, b.sums
	b.pool.run(&b.sk, w.Rows, b.units(int64(w.RowBytes*x.Rows)))
}

type sketch struct {
	k      *kernel.Set
	y      device.Act
	w      device.SketchMat
	codes  []int8
	scales []float32
	sums   []int32
}

func (s *sketch) run(lo, hi, _ int) {
	padded := 2 * s.w.RowBytes
	for r := lo; r < hi; r++ {
		row := s.w.Codes[r*s.w.RowBytes : (r+1)*s.w.RowBytes]
		bias := float32(0)
		if s.w.Bias != nil {
			bias = s.w.Bias[r]
		}
		for t := range s.y.Rows {
			sum := s.k.DotU4S8(row, s.codes[t*padded:(t+1)*padded]) - 8*s.sums[t]
			s.y.Data[t*s.y.Stride+r] = float32(sum)*s.scales[t]*s.w.Scales[r] + bias
		}
	}
}

// Up computes neurons in any order: each is a sum of its own.
func (b *Backend) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	b.up.h, b.up.x, b.up.s, b.up.w, b.up.sel = h, x, s, w, sel
	b.up.dot = rowDot(b.up.k, s.DType)
	b.pool.run(&b.up, len(sel), b.units(s.DType.RowBytes(s.Cols)*int64(x.Rows)))
}

type up struct {
	k   *kernel.Set
	h   []float32
	x   device.Act
	s   device.Slots
	w   device.Work
	sel []int32
	dot dotFunc
}

func (u *up) run(lo, hi, _ int) {
	tokens := u.x.Rows
	for n := lo; n < hi; n++ {
		i := int(u.sel[n])
		row := u.s.Vec(u.w.Slots[i], 0)
		next := row
		if n+1 < hi {
			next = u.s.Vec(u.w.Slots[u.sel[n+1]], 0)
		}
		add := float32(0)
		if u.w.Bias != nil {
			add = u.w.Bias[u.w.IDs[i]]
		}
		h := u.h[i*tokens : (i+1)*tokens]
		if u.w.Wants == nil {
			u.dot.all(h, row, u.x, next)
			for t, v := range h {
				h[t] = activate(u.w.Act, v+add)
			}
			continue
		}
		clear(h)
		for word, m := range u.w.Wants[i*u.w.WantWords : (i+1)*u.w.WantWords] {
			for ; m != 0; m &= m - 1 {
				t := word<<6 + bits.TrailingZeros64(m)
				h[t] = activate(u.w.Act, u.dot.one(row, u.x.Row(t), next)+add)
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
	last := len(d.w.IDs) - 1
	for i, slot := range d.w.Slots {
		col := d.s.Vec(slot, d.s.Parts-1)[b0:b1]
		next := col
		if i < last {
			next = d.s.Vec(d.w.Slots[i+1], d.s.Parts-1)[b0:b1]
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

// perWorker is a buffer of each thread.
type perWorker [][]float32

// of is worker's buffer, made n elements long.
func (p perWorker) of(worker, n int) []float32 {
	p[worker] = grow(p[worker], n)
	return p[worker]
}

// grow is s with room for n elements; what it held is lost. The room is a
// multiple of growth, so that a context that grows by a token at a time does
// not allocate at each, and so that no two threads write to one cache line.
func grow[T any](s []T, n int) []T {
	const growth = 1024
	if cap(s) < n {
		return make([]T, n, (n+growth-1)/growth*growth)
	}
	return s[:n]
}
