package cpu

import (
	"math"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// page is one page of one head: [PageTokens, dim] keys and values of type dt.
// The first token of the block at hand sees the first seen of them, each
// further token one more. With a window the first token sees none of the first
// hidden, each further token one less.
type page struct {
	dt           tensor.DType
	keys, values []byte
	next         []byte // the next page's keys
	seen, hidden int
	group, dim   int

	window         bool
	scale, softCap float32
}

// direct reports whether kernels read a page of type dt as it is stored: where
// they know its rows, and where few queries make it no gain to convert it
// first. Four queries or more read float32.
func direct(dt tensor.DType, headDim, queries int) bool {
	switch dt {
	case tensor.F32:
		return headDim%16 == 0
	case tensor.F16:
		return headDim%16 == 0 && queries < 4
	case tensor.Q8_0: // whose rows are whole blocks of 32
		return queries < 4
	default:
		return false
	}
}

// sees is how many keys of the page query j of the block sees.
func (p *page) sees(j int) int { return min(max(0, p.seen+j/p.group), kv.PageTokens) }

// hides is how many of the keys that it would see the window takes from query j.
func (p *page) hides(j int) int {
	if !p.window {
		return 0
	}
	return max(0, p.hidden+j/p.group)
}

// widen converts the first n rows of headDim elements to float32.
func (p *page) widen(k *kernel.Set, w *attendWork, headDim, n int) {
	w.keys, w.values = grow(w.keys, kv.PageTokens*p.dim), grow(w.values, kv.PageTokens*p.dim)
	p.widenRows(k, w.keys, p.keys, headDim, n)
	p.widenRows(k, w.values, p.values, headDim, n)
	p.dt, p.keys, p.values = tensor.F32, kernel.Bytes(w.keys), kernel.Bytes(w.values)
}

func (p *page) widenRows(k *kernel.Set, dst []float32, src []byte, headDim, n int) {
	if p.dim == headDim {
		decode(k, dst[:n*headDim], src, p.dt)
		return
	}
	rowBytes := int(p.dt.RowBytes(headDim))
	for i := range n {
		row := dst[i*p.dim : (i+1)*p.dim]
		decode(k, row[:headDim], src[i*rowBytes:], p.dt)
		clear(row[headDim:])
	}
}

// one takes the page into query j.
func (p *page) one(k *kernel.Set, w *attendWork, j int) {
	hidden, n := p.hides(j), p.sees(j)
	if n <= hidden {
		return
	}
	q, y := w.q[j*p.dim:(j+1)*p.dim], w.y[j*p.dim:(j+1)*p.dim]
	s := w.scores[:(n+3)&^3] // up to three keys beyond those seen are in the page
	pages := p.kernels(k)
	pages.Scores(s, q, p.keys, unsafe.SliceData(p.values))
	c := p.soften(k, w, j, w.scores, n)
	pages.Values(y, c, w.scores[hidden:n], p.values[int64(hidden)*p.dt.RowBytes(p.dim):], unsafe.SliceData(p.next))
}

// kernels is those for the page's type, which is direct or float32.
func (p *page) kernels(k *kernel.Set) *kernel.Pages {
	switch p.dt {
	case tensor.F16:
		return &k.Attention.F16
	case tensor.Q8_0:
		return &k.Attention.Q8
	}
	return &k.Attention.F32
}

// soften turns the first n of s, the scores of query j, into weights, and
// returns what its output so far is to be multiplied by.
func (p *page) soften(k *kernel.Set, w *attendWork, j int, s []float32, n int) float32 {
	hidden, scale := p.hides(j), p.scale
	if p.softCap > 0 {
		softCap(s[hidden:n], scale, p.softCap)
		scale = 1
	}
	s = s[:(n+15)&^15]
	for i := range s {
		if i < hidden || i >= n {
			s[i] = float32(math.Inf(-1))
		}
	}
	k.Attention.Softmax(s, &w.state[j], scale)
	return w.state[j][2]
}

// softCap sets s to c tanh(scale s / c).
func softCap(s []float32, scale, c float32) {
	for i, v := range s {
		s[i] = float32(float64(c) * math.Tanh(float64(v)*float64(scale)/float64(c)))
	}
}

// four takes the page, which is float32, into queries j to j+3. All see what
// the first sees; the keys and values that only later ones see are theirs
// alone.
func (p *page) four(k *kernel.Set, w *attendWork, j int) {
	if p.hides(j+3) > 0 { // few pages, where they begin within the window
		for i := range 4 {
			p.one(k, w, j+i)
		}
		return
	}
	most := p.sees(j + 3)
	if most == 0 {
		return
	}
	dim := p.dim
	q, y := w.q[j*dim:(j+4)*dim], w.y[j*dim:(j+4)*dim]
	k.Attention.Scores4(w.scores, kv.PageTokens, most, q, kernel.Elements[float32](p.keys))
	w.fix = [4]float32{1, 1, 1, 1}
	for i := range w.fix {
		if n := p.sees(j + i); n > 0 {
			w.fix[i] = p.soften(k, w, j+i, w.scores[i*kv.PageTokens:], n)
		}
	}
	common, values := p.sees(j), kernel.Elements[float32](p.values)
	k.Attention.Values4(y, w.fix[:], w.scores, kv.PageTokens, common, values)
	for i := range w.fix {
		if n := p.sees(j + i); n > common {
			k.Attention.F32.Values(y[i*dim:(i+1)*dim], 1, w.scores[i*kv.PageTokens+common:][:n-common], kernel.Bytes(values[common*dim:]), nil)
		}
	}
}
