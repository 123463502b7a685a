package kv

import (
	"math"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
	"pgregory.net/rapid"
)

// Whatever sequences do, each reads back what it put, and no page is lost.
func TestSequencesKeepTheirTokens(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		t.Run(dt.String(), rapid.MakeCheck(func(t *rapid.T) {
			shape := Shape{Layers: 3, Heads: 3, HeadDim: 4, DType: dt}
			if rapid.Bool().Draw(t, "windows") {
				w := rapid.IntRange(1, 200).Draw(t, "window")
				shape.Windows = []int{w, 0, w}
			}
			if dt.Quantised() {
				shape.HeadDim = tensor.QuantBlock
			}
			const pages = 20
			c := New(shape, make([]byte, pages*shape.PageBytes()))
			seqs := make([]Seq, 3)
			want := make([][]float32, len(seqs)) // first element of each token's key
			next := float32(0)
			t.Repeat(map[string]func(*rapid.T){
				"grow": func(t *rapid.T) {
					i := rapid.IntRange(0, len(seqs)-1).Draw(t, "seq")
					n := rapid.IntRange(1, 100).Draw(t, "n")
					before := seqs[i].Len()
					if err := c.Grow(&seqs[i], n); err != nil {
						if (Pages(n)+1)*shape.Layers <= len(c.free) {
							t.Fatalf("%v, with %d pages free", err, len(c.free))
						}
						if seqs[i].Len() != before {
							t.Fatalf("failed Grow changed the length")
						}
						return
					}
					for p := before; p < before+n; p++ {
						next = float32(int(next+1) % 500) // float16 holds halves up to there
						want[i] = append(want[i], next)
						for l := range shape.Layers {
							c.Put(l, &seqs[i], p, token(shape, next, l), token(shape, -next, l))
						}
					}
				},
				"truncate": func(t *rapid.T) {
					i := rapid.IntRange(0, len(seqs)-1).Draw(t, "seq")
					n := rapid.IntRange(0, seqs[i].Len()).Draw(t, "n")
					kept := c.Truncate(&seqs[i], n)
					if kept != n && (kept != 0 || shape.Windows == nil) {
						t.Fatalf("got %d tokens kept of %d", kept, n)
					}
					want[i] = want[i][:kept]
				},
				"": func(t *rapid.T) {
					used := 0
					for i := range seqs {
						for g, x := range seqs[i].tables {
							held := len(x.pages) - x.gone*c.groups[g].layers
							used += held
							if sees := c.groups[g].first(seqs[i].Len()); x.gone > sees {
								t.Fatalf("got %d pages given back, want at most %d: the next token sees those from there on", x.gone, sees)
							}
							if most := shape.Pages(seqs[i].Len(), 100); held > most {
								t.Fatalf("got %d pages held, want at most %d", held, most)
							}
						}
						check(t, c, shape, &seqs[i], want[i])
					}
					if used+len(c.free) != pages {
						t.Fatalf("got %d used and %d free pages, want %d in all", used, len(c.free), pages)
					}
				},
			})
		}))
	}
}

// token is a [kv head, head dim] vector that tells tokens and layers apart.
func token(s Shape, v float32, layer int) []float32 {
	x := make([]float32, s.Heads*s.HeadDim)
	for i := range x {
		x[i] = v + float32(layer)*0.5
	}
	return x
}

func check(t *rapid.T, c *Cache, shape Shape, s *Seq, want []float32) {
	row := shape.DType.RowBytes(shape.HeadDim)
	got := make([]float32, shape.HeadDim)
	same := func(a, b float32) bool { return a == b }
	if shape.DType.Quantised() { // to within the rounding of a scale to float16
		same = func(a, b float32) bool { return math.Abs(float64(a-b)) <= math.Abs(float64(b))/2048 }
	}
	for p, w := range want {
		for l := range shape.Layers {
			if p < s.tables[c.places[l].group].gone*PageTokens {
				continue
			}
			for h := range shape.Heads {
				k, v := c.Page(l, s, p/PageTokens, h)
				at := int64(p%PageTokens) * row
				tensor.Decode(got, k[at:], shape.DType)
				if !same(got[0], w+float32(l)*0.5) {
					t.Fatalf("key of position %d, layer %d, head %d: got %v, want %v", p, l, h, got[0], w)
				}
				tensor.Decode(got, v[at:], shape.DType)
				if !same(got[shape.HeadDim-1], -w+float32(l)*0.5) {
					t.Fatalf("value of position %d, layer %d, head %d: got %v, want %v", p, l, h, got, -w)
				}
			}
		}
	}
}

// Keys and values beyond a type's largest value are held to it: f32 keeps
// them, and infinity would spoil everything after.
func TestSaturate(t *testing.T) {
	const d = 32
	for _, c := range []struct {
		dtype tensor.DType
		v     float32
		want  float64
	}{
		{tensor.F16, 65504, 65504}, {tensor.F16, 65520, 65504}, {tensor.F16, -1e9, -65504}, {tensor.F16, math.MaxFloat32, 65504},
		{tensor.F16, float32(math.Inf(-1)), math.Inf(-1)}, {tensor.F32, 1e30, float64(float32(1e30))},
		{tensor.Q8_0, 127 * 65504, 127 * 65504}, {tensor.Q8_0, -1e30, -127 * 65504}, {tensor.Q8_0, math.MaxFloat32, 127 * 65504},
	} {
		shape := Shape{Layers: 1, Heads: 1, HeadDim: d, DType: c.dtype}
		cache := New(shape, make([]byte, shape.PageBytes()))
		var s Seq
		if err := cache.Grow(&s, 1); err != nil {
			t.Fatal(err)
		}
		k, v := make([]float32, d), make([]float32, d)
		k[3], v[7] = c.v, c.v
		cache.Put(0, &s, 0, k, v)
		keys, values := cache.Row(0, &s, 0, 0)
		got := make([]float32, d)
		for i, row := range [][]byte{keys, values} {
			tensor.Decode(got, row, c.dtype)
			if at := []int{3, 7}[i]; float64(got[at]) != c.want {
				t.Errorf("%v: got %v for %v, want %v", c.dtype, got[at], c.v, c.want)
			}
		}
	}
}

// A window gives back its pages, so that a long text holds no more than Pages says,
// and what cannot be had again is not said to be there.
func TestWindow(t *testing.T) {
	shape := Shape{Layers: 2, Heads: 1, HeadDim: 4, DType: tensor.F32, Windows: []int{70, 0}}
	const tokens, chunk = 1000, 16
	pages := shape.Pages(tokens, chunk)
	if want := Pages(tokens) + Pages(69+chunk) + 1; pages != want {
		t.Fatalf("got %d pages, want %d", pages, want)
	}
	c := New(shape, make([]byte, int64(pages)*shape.PageBytes()))
	var s Seq
	for s.Len() < tokens {
		if err := c.Grow(&s, min(chunk, tokens-s.Len())); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Truncate(&s, 990); n != 990 {
		t.Errorf("got %d tokens, want 990: all that its window sees is there", n)
	}
	if n := c.Truncate(&s, 500); n != 0 || s.Len() != 0 || len(c.free) != pages {
		t.Errorf("got %d tokens and %d free pages, want none and %d", n, len(c.free), pages)
	}
}
