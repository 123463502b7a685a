// Package kv holds the keys and values of the tokens seen so far, in pages.
//
// The memory is one block, made when the model is placed: a page holds
// PageTokens tokens of one sequence in every layer, and a sequence is a list
// of pages, so sequences grow without copying and give back all they had
// (after vLLM's PagedAttention, Kwon et al. 2023). Within a page and a layer
// keys and values are laid out [kv head, token, head dim], so that attention
// walks one head's keys in a straight line.
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

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// PageTokens is the number of tokens in a page.
const PageTokens = 64

// Shape is what the size of a cache follows from.
type Shape struct {
	Layers, Heads, HeadDim int // Heads: key-value heads
	DType                  tensor.DType
}

// planeBytes is the size of one page's keys (or values) in one layer.
func (s Shape) planeBytes() int64 {
	return int64(s.Heads) * PageTokens * s.DType.RowBytes(s.HeadDim)
}

// PageBytes is the size of one page: keys and values of every layer.
func (s Shape) PageBytes() int64 { return 2 * int64(s.Layers) * s.planeBytes() }

// Pages is the number of pages that tokens tokens need.
func Pages(tokens int) int { return (tokens + PageTokens - 1) / PageTokens }

// Cache is the pages of all sequences.
type Cache struct {
	shape Shape
	mem   []byte  // [page, layer, key or value, head, token, head dim]
	free  []int32 // pages that no sequence has, taken from the end
	total int
}

// New makes a cache over mem, which the caller owns and which holds as many
// pages as fit.
func New(shape Shape, mem []byte) *Cache {
	n := int(int64(len(mem)) / shape.PageBytes())
	c := &Cache{shape: shape, mem: mem, free: make([]int32, n), total: n}
	for i := range c.free {
		c.free[i] = int32(n - 1 - i)
	}
	return c
}

// FreeTokens is the number of tokens that the free pages can hold.
func (c *Cache) FreeTokens() int { return len(c.free) * PageTokens }

// Seq is one sequence's place in a Cache. The zero Seq is empty.
type Seq struct {
	pages []int32
	n     int
}

// Len is the number of tokens that the sequence holds.
func (s *Seq) Len() int { return s.n }

// Grow makes room for n more tokens at the end of s. Their keys and values
// are whatever was there before until Put stores them. On an error nothing
// changes.
func (c *Cache) Grow(s *Seq, n int) error {
	need := Pages(s.n+n) - len(s.pages)
	if need > len(c.free) {
		return fmt.Errorf("kv: grow sequence of %d tokens by %d: got %d free pages of %d, want %d (each %d tokens)",
			s.n, n, len(c.free), c.total, need, PageTokens)
	}
	for range need {
		last := len(c.free) - 1
		s.pages = append(s.pages, c.free[last])
		c.free = c.free[:last]
	}
	s.n += n
	return nil
}

// Truncate drops all tokens of s from position n on.
func (c *Cache) Truncate(s *Seq, n int) {
	keep := Pages(n)
	c.free = append(c.free, s.pages[keep:]...)
	s.pages, s.n = s.pages[:keep], n
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
	keys, values := c.planes(layer, s.pages[pos/PageTokens])
	at := (int64(head)*PageTokens + int64(pos%PageTokens)) * n
	return keys[at : at+n : at+n], values[at : at+n : at+n]
}

// Page is the keys and values of one kv head on the page that holds the
// positions from page*PageTokens on: each [PageTokens, head dim].
func (c *Cache) Page(layer int, s *Seq, page, head int) (k, v []byte) {
	keys, values := c.planes(layer, s.pages[page])
	n := PageTokens * c.shape.DType.RowBytes(c.shape.HeadDim)
	at := int64(head) * n
	return keys[at : at+n], values[at : at+n]
}

// Shape is what the cache was made with.
func (c *Cache) Shape() Shape { return c.shape }

// DType is the element type of keys and values.
func (c *Cache) DType() tensor.DType { return c.shape.DType }

// planes is one page's keys and values in one layer.
func (c *Cache) planes(layer int, page int32) (k, v []byte) {
	n := c.shape.planeBytes()
	at := int64(page)*c.shape.PageBytes() + 2*int64(layer)*n
	return c.mem[at : at+n], c.mem[at+n : at+2*n]
}
