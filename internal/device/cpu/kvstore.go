package cpu

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// StoreKV converts with the kernels where they have the type, and splits the
// tokens.
func (b *Backend) StoreKV(c *kv.Cache, layer int, spans []device.Span, k, v device.Act) {
	b.storeKV.c, b.storeKV.layer, b.storeKV.spans, b.storeKV.keys, b.storeKV.values = c, layer, spans, k, v
	b.pool.run(&b.storeKV, k.Rows, b.units(2*tensor.F32.RowBytes(k.Cols)))
}

type storeKV struct {
	k            *kernel.Set
	c            *kv.Cache
	layer        int
	spans        []device.Span
	keys, values device.Act
}

func (p *storeKV) run(lo, hi, _ int) {
	first := 0 // row of the span
	for _, s := range p.spans {
		for t := max(lo, first); t < min(hi, first+s.N); t++ {
			p.token(s.Seq, s.Pos+t-first, p.keys.Row(t), p.values.Row(t))
		}
		first += s.N
	}
}

// token stores one token's keys and values, [kv head, head dim].
func (p *storeKV) token(s *kv.Seq, pos int, keys, values []float32) {
	shape := p.c.Shape()
	for h := range shape.Heads {
		at, end := h*shape.HeadDim, (h+1)*shape.HeadDim
		k, v := p.c.Row(p.layer, s, pos, h)
		p.encode(k, keys[at:end], shape.DType)
		p.encode(v, values[at:end], shape.DType)
	}
}

func (p *storeKV) encode(dst []byte, src []float32, dt tensor.DType) {
	switch dt {
	case tensor.F32:
		copy(kernel.Elements[float32](dst), src)
	case tensor.F16:
		p.k.EncodeF16(kernel.Elements[uint16](dst), src)
	default:
		tensor.Encode(dst, src, dt)
	}
}
