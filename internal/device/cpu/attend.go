package cpu

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
)

// blockQueries is how many queries share one reading of a page: beyond some
// 16 the page's conversion is a few percent, and each query's output stays in
// the cache beside the page.
const blockQueries = 32

// Attend reads the cache page by page, each page once for up to blockQueries
// queries, with a softmax that runs over the pages (kernel.Attention). What is
// computed for a query depends on the positions that it sees alone: a page's
// scores, the softmax so far, the sum of values so far, in the order of
// positions.
func (b *Backend) Attend(y, q device.Act, c *kv.Cache, layer int, spans []device.Span, p device.AttendParams) {
	a := &b.att
	a.y, a.q, a.c, a.layer, a.p = y, q, c, layer, p
	a.blocks = a.blocks[:0]
	group := p.Heads / p.KVHeads
	tokens, row, longest := max(1, blockQueries/group), 0, 0
	for _, s := range spans {
		for at := 0; at < s.N; at += tokens {
			a.blocks = append(a.blocks, block{s.Seq, s.Pos + at, row + at, min(tokens, s.N-at)})
		}
		row += s.N
		seen := s.Pos + s.N
		if p.Window > 0 {
			seen = min(seen, p.Window+s.N)
		}
		longest = max(longest, seen)
	}
	if row == 0 {
		return
	}
	queries := (row + len(a.blocks) - 1) / len(a.blocks) * group // of a block
	unitBytes := 2 * int64(longest) * c.DType().RowBytes(p.HeadDim) * int64(queries)
	b.pool.run(a, len(a.blocks)*p.KVHeads, b.units(unitBytes))
}

// block is n consecutive tokens of a sequence, from position pos and from row
// row of the activations on.
type block struct {
	seq         *kv.Seq
	pos, row, n int
}

type attend struct {
	k       *kernel.Set
	y, q    device.Act
	c       *kv.Cache
	layer   int
	p       device.AttendParams
	blocks  []block
	workers []attendWork
}

// attendWork is one thread's memory for one block of queries. dim is the head
// dim rounded up to a multiple of 16: what lies beyond the head dim is 0.
type attendWork struct {
	q, y         []float32    // [queries, dim], y not yet divided by the weights' sum
	state        [][3]float32 // [queries] of kernel.Attention.Softmax
	scores       []float32    // [4, PageTokens]
	fix          [4]float32   // of four queries: what Softmax says to multiply y by
	keys, values []float32    // [PageTokens, dim] a page as float32
}

// run takes the blocks of one head before the next head: they read the same
// pages.
func (a *attend) run(lo, hi, worker int) {
	for u := lo; u < hi; u++ {
		a.block(a.blocks[u%len(a.blocks)], u/len(a.blocks), &a.workers[worker])
	}
}

// block attends from the queries of one block that share a head of the cache.
// Query j is of token j/group.
func (a *attend) block(b block, kvHead int, w *attendWork) {
	group, hd := a.p.Heads/a.p.KVHeads, a.p.HeadDim
	queries, dim := b.n*group, (hd+15)&^15
	w.q, w.y = grow(w.q, queries*dim), grow(w.y, queries*dim)
	w.state, w.scores = grow(w.state, queries), grow(w.scores, 4*kv.PageTokens)
	clear(w.y)
	for j := range queries {
		q := w.q[j*dim : (j+1)*dim]
		clear(q[copy(q, a.head(a.q, b, kvHead, j)):])
		w.state[j] = a.begin(kvHead*group + j%group)
	}
	first, last := 0, (b.pos+b.n-1)/kv.PageTokens
	if a.p.Window > 0 {
		first = max(0, b.pos+1-a.p.Window) / kv.PageTokens
	}
	keys, values := a.c.Page(a.layer, b.seq, first, kvHead)
	for i := first; i <= last; i++ {
		p := page{
			dt: a.c.DType(), keys: keys, values: values, group: group, dim: dim, scale: a.p.Scale, softCap: a.p.SoftCap,
			seen: b.pos + 1 - i*kv.PageTokens, window: a.p.Window > 0, hidden: b.pos + 1 - a.p.Window - i*kv.PageTokens,
		}
		p.next = keys
		if i < last {
			keys, values = a.c.Page(a.layer, b.seq, i+1, kvHead)
			p.next = keys
		}
		if !direct(p.dt, hd, queries) {
			p.widen(a.k, w, hd, p.sees(queries-1))
		}
		j := 0
		for ; j+4 <= queries; j += 4 {
			p.four(a.k, w, j)
		}
		for ; j < queries; j++ {
			p.one(a.k, w, j)
		}
	}
	for j := range queries {
		y, inv := a.head(a.y, b, kvHead, j), 1/w.state[j][1]
		for k, v := range w.y[j*dim:][:hd] {
			y[k] = v * inv
		}
	}
}

// begin is the softmax of a head before any score.
func (a *attend) begin(head int) [3]float32 {
	if a.p.Sinks != nil && a.p.Sinks[head] != float32(math.Inf(-1)) {
		return [3]float32{a.p.Sinks[head], 1}
	}
	return [3]float32{float32(math.Inf(-1))}
}

// head is query j's part of its token's row of x.
func (a *attend) head(x device.Act, b block, kvHead, j int) []float32 {
	group := a.p.Heads / a.p.KVHeads
	at := (kvHead*group + j%group) * a.p.HeadDim
	return x.Row(b.row + j/group)[at : at+a.p.HeadDim]
}
