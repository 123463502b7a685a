package cpu_test

import (
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// attention is four sequences in one cache, their pages interleaved, and the
// spans of a batch over them: a prompt that crosses two pages, one token, a
// few that begin on one page and end on the next, of which four at a time are
// on both, and a few of which the first sees 16 keys.
type attention struct {
	p     device.AttendParams
	layer int
	cache *kv.Cache
	spans []device.Span
	q     device.Act
}

func newAttention(heads, kvHeads, headDim int, dt tensor.DType) *attention {
	r := newRandom(uint64(heads*headDim) + uint64(dt))
	shape := kv.Shape{Layers: 2, Heads: kvHeads, HeadDim: headDim, DType: dt}
	a := &attention{
		p:     device.AttendParams{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Scale: float32(1 / math.Sqrt(float64(headDim)))},
		layer: 1,
		cache: kv.New(shape, make([]byte, 14*shape.PageBytes())),
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
					panic(err) // there are pages enough
				}
			}
		}
	}
	for _, s := range a.spans {
		for pos := range s.Seq.Len() {
			k, v := r.floats(kvHeads*headDim), r.floats(kvHeads*headDim)
			a.cache.Put(1-a.layer, s.Seq, pos, v, k) // the other layer's are others
			a.cache.Put(a.layer, s.Seq, pos, k, v)
		}
	}
	a.q = r.act(rows, heads*headDim)
	return a
}

// some is the spans of n tokens of the batch from first on.
func (a *attention) some(first, n int) (spans []device.Span) {
	for _, s := range a.spans {
		lo, hi := max(0, first), min(s.N, first+n)
		if lo < hi {
			spans = append(spans, device.Span{Seq: s.Seq, Pos: s.Pos + lo, N: hi - lo})
		}
		first -= s.N
	}
	return spans
}

// StoreKV stores what Put does, token by token, whatever the spans.
func TestStoreKV(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		a := newAttention(4, 2, 32, dt)
		r := newRandom(uint64(dt))
		k, v := r.act(a.q.Rows, 64), r.act(a.q.Rows, 64)
		k.Row(0)[0], k.Row(1)[1], v.Row(0)[2] = float32(math.Inf(1)), 1e-6, -1e30
		want := newAttention(4, 2, 32, dt)
		ref.New().StoreKV(want.cache, want.layer, want.spans, k, v)
		backends(t, func(t *testing.T, b device.Backend) {
			got := newAttention(4, 2, 32, dt)
			b.StoreKV(got.cache, got.layer, got.spans, k, v)
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
