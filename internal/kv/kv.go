// Package kv holds the keys and values of the tokens seen so far, in pages.
//
// The memory is one block, made when the model is placed: a page holds
// PageTokens tokens of one sequence in one layer, and a sequence has a table of
// pages for each group of layers, so sequences grow without copying and give back
// all they had (after vLLM's PagedAttention, Kwon et al. 2023). Layers that see a
// window of tokens are a group of their own, which gives back the pages that no
// token to come will see.
//
// Within a page keys and values are laid out [kv head, token, head dim], so that
// attention walks one head's keys in a straight line.
//
// Elements are float32, float16 or, where the head dim is a multiple of 32,
// q8_0. Float32 is what the exactness tests use; float16 halves the memory and
// rounds every key and value once; q8_0 takes 8.5 bits an element.
//
// A Cache is used by one goroutine at a time, but for the rows of tokens.
package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// PageTokens is the number of tokens in a page.
const PageTokens = 64

// Shape is what the size of a cache follows from.
type Shape struct {
	Layers, Heads, HeadDim int // Heads: key-value heads
	DType                  tensor.DType
	// Windows, [Layers], is how many of the latest tokens a layer sees, the one at
	// hand included; 0, or no Windows: all.
	Windows []int
}

// window is how many tokens a layer sees, 0 for all.
func (s Shape) window(layer int) int {
	if s.Windows == nil {
		return 0
	}
	return s.Windows[layer]
}

// planeBytes is the size of one page's keys (or values).
func (s Shape) planeBytes() int64 {
	return int64(s.Heads) * PageTokens * s.DType.RowBytes(s.HeadDim)
}

// PageBytes is the size of one page: keys and values of one layer.
func (s Shape) PageBytes() int64 { return 2 * s.planeBytes() }

// Pages is the number of pages that tokens tokens need in a layer that sees all.
func Pages(tokens int) int { return (tokens + PageTokens - 1) / PageTokens }

// Pages is the most pages, in all layers, that a sequence of tokens tokens needs
// at any time, if it grows by chunk tokens at most.
func (s Shape) Pages(tokens, chunk int) (n int) {
	for l := range s.Layers {
		of := Pages(tokens)
		if w := s.window(l); w > 0 {
			// Tokens that a window still reaches may begin and end within a page.
			of = min(of, Pages(w-1+chunk)+1)
		}
		n += of
	}
	return n
}

// Cache is the pages of all sequences.
type Cache struct {
	shape  Shape
	mem    []byte  // [page, key or value, head, token, head dim]
	free   []int32 // pages that no sequence has, taken from the end
	total  int
	groups []group
	places []place // [layers]
}

// group is layers of one window, which have a table of pages together.
type group struct{ window, layers int }

// place is where a layer's pages are: in the table of a group, of whose layers it
// is the index-th.
type place struct{ group, index int }

// New makes a cache over mem, which the caller owns and which holds as many
// pages as fit.
func New(shape Shape, mem []byte) *Cache {
	n := int(int64(len(mem)) / shape.PageBytes())
	c := &Cache{shape: shape, mem: mem, free: make([]int32, n), total: n}
	for i := range c.free {
		c.free[i] = int32(n - 1 - i)
	}
	for l := range shape.Layers {
		w := shape.window(l)
		g := slices.IndexFunc(c.groups, func(g group) bool { return g.window == w })
		if g < 0 {
			g = len(c.groups)
			c.groups = append(c.groups, group{window: w})
		}
		c.places = append(c.places, place{g, c.groups[g].layers})
		c.groups[g].layers++
	}
	return c
}

// Seq is one sequence's place in a Cache. The zero Seq is empty.
type Seq struct {
	tables []table // [groups]
	n      int
}

// table is a group's pages of one sequence.
type table struct {
	// pages, [pages, layers of the group], begins with those of position 0; of
	// the first gone ones nothing is left.
	pages []int32
	gone  int
}

// Len is the number of tokens that the sequence holds.
func (s *Seq) Len() int { return s.n }

// first is the first page that a group's layers see from position pos on.
func (g group) first(pos int) int {
	if g.window == 0 {
		return 0
	}
	return max(0, pos-g.window+1) / PageTokens
}

// Grow makes room for n more tokens at the end of s. Their keys and values
// are whatever was there before until Put stores them. Pages that only tokens
// before these have seen are given back. On an error nothing changes.
func (c *Cache) Grow(s *Seq, n int) error {
	need, back := 0, 0
	for i, g := range c.groups {
		held, gone := 0, 0
		if s.tables != nil {
			held, gone = len(s.tables[i].pages)/g.layers, s.tables[i].gone
		}
		need += (Pages(s.n+n) - held) * g.layers
		back += max(0, min(g.first(s.n), held)-gone) * g.layers
	}
	if need > len(c.free)+back {
		return fmt.Errorf("kv: grow sequence of %d tokens by %d: got %d free pages of %d, want %d (each %d tokens of a layer)",
			s.n, n, len(c.free)+back, c.total, need, PageTokens)
	}
	if s.tables == nil {
		s.tables = make([]table, len(c.groups))
	}
	for i, g := range c.groups {
		t := &s.tables[i]
		if to := min(g.first(s.n), len(t.pages)/g.layers); to > t.gone {
			c.free = append(c.free, t.pages[t.gone*g.layers:to*g.layers]...)
			t.gone = to
		}
	}
	for i, g := range c.groups {
		t := &s.tables[i]
		for range (Pages(s.n+n) - len(t.pages)/g.layers) * g.layers {
			last := len(c.free) - 1
			t.pages = append(t.pages, c.free[last])
			c.free = c.free[:last]
		}
	}
	s.n += n
	return nil
}

// Truncate drops all tokens of s from position n on and returns how many s then
// holds: n, or none at all where a window needs pages that were given back.
func (c *Cache) Truncate(s *Seq, n int) int {
	for i, g := range c.groups {
		if s.tables != nil && g.first(n) < s.tables[i].gone {
			n = 0
		}
	}
	for i := range s.tables {
		t, layers := &s.tables[i], c.groups[i].layers
		keep := Pages(n) * layers
		c.free = append(c.free, t.pages[max(keep, t.gone*layers):]...)
		t.pages = t.pages[:keep]
		t.gone = min(t.gone, Pages(n))
	}
	s.n = n
	return n
}

// Release gives all pages of s back.
func (c *Cache) Release(s *Seq) { c.Truncate(s, 0) }

// Put stores the keys and values of the token at position pos of s in one
// layer; k and v are [kv head, head dim] f32.
func (c *Cache) Put(layer int, s *Seq, pos int, k, v []float32) {
	hd := c.shape.HeadDim
	for h := range c.shape.Heads {
		keys, values := c.Row(layer, s, pos, h)
		c.encode(keys, k[h*hd:(h+1)*hd])
		c.encode(values, v[h*hd:(h+1)*hd])
	}
}

func (c *Cache) encode(dst []byte, src []float32) {
	tensor.Encode(dst, src, c.shape.DType)
	Saturate(dst, src, c.shape.DType)
}

// The largest float16, and what float16s look like.
const (
	maxF16     = 65504
	maxF16Bits = 0x7bff
	infF16Bits = 0x7c00
	signBit    = 0x8000
)

// Saturate holds to the type's largest value what was finite in src and is
// infinite in dst, its encoding: one infinite key would make everything after
// it NaN, and a model can have keys beyond float16 that its queries scale down
// again.
func Saturate(dst []byte, src []float32, dt tensor.DType) {
	switch dt {
	case tensor.F16:
		for i := 0; i+1 < len(dst); i += 2 {
			bits := binary.LittleEndian.Uint16(dst[i:])
			if bits&^signBit == infF16Bits && !math.IsInf(float64(src[i/2]), 0) {
				binary.LittleEndian.PutUint16(dst[i:], bits&signBit|maxF16Bits)
			}
		}
	case tensor.Q8_0:
		n := int(dt.RowBytes(tensor.QuantBlock))
		for ; len(dst) >= n; dst, src = dst[n:], src[tensor.QuantBlock:] {
			// The scale is a float16, the value at most 127 times it.
			if binary.LittleEndian.Uint16(dst)&^signBit != infF16Bits {
				continue
			}
			var held [tensor.QuantBlock]float32
			finite := true
			for i, v := range src[:tensor.QuantBlock] {
				held[i] = max(-127*maxF16, min(v, 127*maxF16))
				finite = finite && !math.IsInf(float64(v), 0)
			}
			if finite {
				tensor.Encode(dst[:n], held[:], dt)
			}
		}
	}
}

// Row is where the keys and values of the token at position pos and one kv head
// are stored in one layer: each [head dim]. Several goroutines may fill rows of
// their own.
func (c *Cache) Row(layer int, s *Seq, pos, head int) (k, v []byte) {
	n := c.shape.DType.RowBytes(c.shape.HeadDim)
	keys, values := c.planes(layer, s, pos/PageTokens)
	at := (int64(head)*PageTokens + int64(pos%PageTokens)) * n
	return keys[at : at+n : at+n], values[at : at+n : at+n]
}

// Page is the keys and values of one kv head on the page that holds the
// positions from page*PageTokens on: each [PageTokens, head dim].
func (c *Cache) Page(layer int, s *Seq, page, head int) (k, v []byte) {
	keys, values := c.planes(layer, s, page)
	n := PageTokens * c.shape.DType.RowBytes(c.shape.HeadDim)
	at := int64(head) * n
	return keys[at : at+n], values[at : at+n]
}

// Shape is what the cache was made with.
func (c *Cache) Shape() Shape { return c.shape }

// DType is the element type of keys and values.
func (c *Cache) DType() tensor.DType { return c.shape.DType }

// planes is one page's keys and values in one layer.
func (c *Cache) planes(layer int, s *Seq, page int) (k, v []byte) {
	p := c.places[layer]
	id := s.tables[p.group].pages[page*c.groups[p.group].layers+p.index]
	n := c.shape.planeBytes()
	at := int64(id) * 2 * n
	return c.mem[at : at+n], c.mem[at+n : at+2*n]
}
