package cpu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// attention is four sequences in one cache, their pages interleaved, and the
// spans of a batch over them: a prompt that crosses two pages, one token, a
// few that begin on one page and end on the next, of which four at a time are
// on both, and a few of which the first sees 16 keys.
type attention struct {
	p            device.AttendParams
	layer        int
	cache        *kv.Cache
	spans        []device.Span
	q            device.Act
	keys, values [][]float64 // [sequence][position, kv head, head dim] as stored
}

func newAttention(t *testing.T, heads, kvHeads, headDim int, dt tensor.DType) *attention {
	t.Helper()
	r := newRandom(uint64(heads*headDim) + uint64(dt))
	shape := kv.Shape{Layers: 2, Heads: kvHeads, HeadDim: headDim, DType: dt}
	a := &attention{
		p:     device.AttendParams{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Scale: float32(1 / math.Sqrt(float64(headDim)))},
		layer: 1,
		cache: kv.New(shape, make([]byte, 7*shape.PageBytes())),
		spans: []device.Span{{Pos: 0, N: 131}, {Pos: 5, N: 1}, {Pos: 61, N: 9}, {Pos: 15, N: 6}},
	}
	rows := 0
	for i := range a.spans {
		a.spans[i].Seq = &kv.Seq{}
		rows += a.spans[i].N
	}
	for grown := true; grown; {
		grown = false
		for _, s := range a.spans {
			if n := min(40, s.Pos+s.N-s.Seq.Len()); n > 0 {
				grown = true
				if err := a.cache.Grow(s.Seq, n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, s := range a.spans {
		var keys, values []float64
		for pos := range s.Seq.Len() {
			k, v := r.floats(kvHeads*headDim), r.floats(kvHeads*headDim)
			a.cache.Put(1-a.layer, s.Seq, pos, v, k) // the other layer's are others
			a.cache.Put(a.layer, s.Seq, pos, k, v)
			keys, values = append(keys, stored(k, dt)...), append(values, stored(v, dt)...)
		}
		a.keys, a.values = append(a.keys, keys), append(a.values, values)
	}
	a.q = r.act(rows, heads*headDim)
	return a
}

// stored is v as dt holds it.
func stored(v []float32, dt tensor.DType) []float64 {
	raw := make([]byte, dt.RowBytes(len(v)))
	tensor.Encode(raw, v, dt)
	tensor.Decode(v, raw, dt)
	wide := make([]float64, len(v))
	for i := range v {
		wide[i] = float64(v[i])
	}
	return wide
}

// exact is softmax(q K / scale) V in float64. A score is off by at most delta,
// so a weight by a factor of exp(2 delta); to that come the roundings of n
// weights and of a sum of n products.
func (a *attention) exact() exact {
	hd, kvd := a.p.HeadDim, a.p.KVHeads*a.p.HeadDim
	want := newExact(a.q.Rows, a.p.Heads*hd)
	row := 0
	for si, span := range a.spans {
		for pos := span.Pos; pos < span.Pos+span.N; pos++ {
			for head := range a.p.Heads {
				at := head / (a.p.Heads / a.p.KVHeads) * hd
				q := a.q.Row(row)[head*hd : (head+1)*hd]
				scores := make([]float64, pos+1)
				delta, top := 0.0, math.Inf(-1)
				for j := range scores {
					var abs float64
					for k, v := range q {
						p := float64(v) * a.keys[si][j*kvd+at+k] * float64(a.p.Scale)
						scores[j] += p
						abs += math.Abs(p)
					}
					delta = max(delta, sumError(hd)*abs+4*u*math.Abs(scores[j]))
					top = max(top, scores[j])
				}
				var sum float64
				for j, s := range scores {
					scores[j] = math.Exp(s - top)
					sum += scores[j]
				}
				for k := range hd {
					var y, abs float64
					for j, e := range scores {
						p := e / sum * a.values[si][j*kvd+at+k]
						y += p
						abs += math.Abs(p)
					}
					want.set(row, head*hd+k, y, abs*(math.Expm1(2*delta)+float64(len(scores)+4)*u))
				}
			}
			row++
		}
	}
	return want
}

func TestAttend(t *testing.T) {
	for _, s := range []struct{ heads, kvHeads, headDim int }{{3, 3, 15}, {2, 1, 80}, {6, 2, 32}, {9, 1, 16}} {
		types := floatTypes
		if s.headDim%tensor.QuantBlock == 0 {
			types = append(slices.Clip(types), tensor.Q8_0)
		}
		for _, dt := range types {
			a := newAttention(t, s.heads, s.kvHeads, s.headDim, dt)
			want := a.exact()
			oracleY := emptyAct(a.q.Rows, a.q.Cols)
			oracle(func(b device.Backend) { b.Attend(oracleY, a.q, a.cache, a.layer, a.spans, a.p) })
			t.Run(fmt.Sprintf("%v/%v", s, dt), func(t *testing.T) {
				backends(t, func(t *testing.T, b device.Backend) {
					y := emptyAct(a.q.Rows, a.q.Cols)
					b.Attend(y, a.q, a.cache, a.layer, a.spans, a.p)
					check(t, y, want)
					sameBits(t, "against the oracle", y, oracleY)

					single, row := emptyAct(a.q.Rows, a.q.Cols), 0
					for _, s := range a.spans {
						for i := range s.N {
							one := []device.Span{{Seq: s.Seq, Pos: s.Pos + i, N: 1}}
							b.Attend(single.Rowspan(row, 1), a.q.Rowspan(row, 1), a.cache, a.layer, one, a.p)
							row++
						}
					}
					sameBits(t, "one token at a time", single, y)
				})
			})
		}
	}
}

// What an operation leaves in the backend's memory, NaN even, is nothing to the
// next.
func TestAttendAfterAnother(t *testing.T) {
	before := newAttention(t, 2, 2, 80, tensor.F16)
	nan := make([]float32, 2*80)
	for i := range nan {
		nan[i] = float32(math.NaN())
	}
	for _, s := range before.spans {
		for pos := range s.Seq.Len() {
			before.cache.Put(before.layer, s.Seq, pos, nan, nan)
		}
	}
	for _, s := range []struct {
		heads, kvHeads, headDim int
		dt                      tensor.DType
	}{{3, 3, 15, tensor.F16}, {4, 4, 32, tensor.F32}} {
		a := newAttention(t, s.heads, s.kvHeads, s.headDim, s.dt)
		want := emptyAct(a.q.Rows, a.q.Cols)
		oracle(func(b device.Backend) { b.Attend(want, a.q, a.cache, a.layer, a.spans, a.p) })
		backends(t, func(t *testing.T, b device.Backend) {
			b.Attend(emptyAct(before.q.Rows, before.q.Cols), before.q, before.cache, before.layer, before.spans, before.p)
			y := emptyAct(a.q.Rows, a.q.Cols)
			b.Attend(y, a.q, a.cache, a.layer, a.spans, a.p)
			sameBits(t, "after another", y, want)
		})
	}
}

// Scores far beyond what exp holds leave weights of 0 and 1, not NaN.
func TestAttendLargeScores(t *testing.T) {
	a := newAttention(t, 2, 2, 16, tensor.F32)
	a.p.Scale = 1e6
	backends(t, func(t *testing.T, b device.Backend) {
		y := emptyAct(a.q.Rows, a.q.Cols)
		b.Attend(y, a.q, a.cache, a.layer, a.spans, a.p)
		kvd := a.p.KVHeads * a.p.HeadDim
		for row := range a.spans[0].N {
			for head := range a.p.Heads {
				at, best, top := head*a.p.HeadDim, 0, math.Inf(-1)
				for j := range row + 1 {
					var s float64
					for k := range a.p.HeadDim {
						s += float64(a.q.Row(row)[at+k]) * a.keys[0][j*kvd+at+k]
					}
					if s > top {
						best, top = j, s
					}
				}
				for k := range a.p.HeadDim {
					if got, want := float64(y.Row(row)[at+k]), a.values[0][best*kvd+at+k]; !(math.Abs(got-want) <= 1e-3) {
						t.Fatalf("token %d head %d: got %v, want the value at %d, %v", row, head, got, best, want)
					}
				}
			}
		}
	})
}

// Keep stores what Put does, token by token, whatever the spans.
func TestKeep(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		a := newAttention(t, 4, 2, 32, dt)
		r := newRandom(uint64(dt))
		k, v := r.act(a.q.Rows, 64), r.act(a.q.Rows, 64)
		k.Row(0)[0], k.Row(1)[1], v.Row(0)[2] = float32(math.Inf(1)), 1e-6, -1e30
		want, row := newAttention(t, 4, 2, 32, dt), 0
		for i, s := range a.spans {
			for n := range s.N {
				want.cache.Put(want.layer, want.spans[i].Seq, s.Pos+n, k.Row(row), v.Row(row))
				row++
			}
		}
		backends(t, func(t *testing.T, b device.Backend) {
			got := newAttention(t, 4, 2, 32, dt)
			b.Keep(got.cache, got.layer, got.spans, k, v)
			for layer := range 2 {
				for i, s := range got.spans {
					for page := range kv.Pages(s.Seq.Len()) {
						for head := range 2 {
							gk, gv := got.cache.Page(layer, s.Seq, page, head)
							wk, wv := want.cache.Page(layer, want.spans[i].Seq, page, head)
							if !slices.Equal(gk, wk) || !slices.Equal(gv, wv) {
								t.Fatalf("%v: layer %d, sequence %d, page %d, head %d: not what Put stores", dt, layer, i, page, head)
							}
						}
					}
				}
			}
		})
	}
}
