package cpu

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
)

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
