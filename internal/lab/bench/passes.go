package bench

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/parallel"
)

// passes are operations of decoding over as many weights of a model's shape as
// some memory holds, or as the model has if these are fewer. Each returns the
// bytes that it read.
type passes struct {
	b        *cpu.Backend
	parts    [][]byte
	matrices []device.Mat
	apart    []device.Slots // layers, as a cache has them
	together []device.Slots // layers all of whose neurons are in memory
	experts  []device.ExpertWork
	ids      []int32 // of all neurons of a layer
	some     []int32
	x, y     device.Act
	h        []float32
	turn     int // of neurons
}

// partBytes is what a thread loads at a time.
const partBytes = 64 << 10

// wantedOf is one in how many neurons a token of a ReLU model wants.
const wantedOf = 20

func newPasses(b *cpu.Backend, mem []byte, layout *pack.Layout, threads int) *passes {
	parallel.Spans(threads, len(mem), len(mem)/threads+1, func(from, to int) { // a machine may give out memory slowly
		part := mem[from:to]
		part[0] = 0x3c // a normal number of every element type
		for n := 1; n < len(part); n *= 2 {
			copy(part[n:], part[:n])
		}
	})
	profile, d := layout.Profile(), layout.Profile().HiddenSize
	p := &passes{b: b, x: device.NewAct(1, d), y: device.NewAct(1, d), parts: slices.Collect(slices.Chunk(mem, partBytes))}
	for i := range p.x.Data {
		p.x.Data[i] = 1
	}
	w := device.Mat{DType: layout.AttnDType().OfRow(d), Rows: d, Cols: d}
	w.Rows = int(min(int64(d), int64(len(mem))/w.DType.RowBytes(d)))
	size := w.DType.RowBytes(d) * int64(w.Rows)
	for at := int64(0); at+size <= int64(len(mem)) && len(p.matrices) < 4*profile.Layers; at += size {
		w.Data = mem[at : at+size]
		p.matrices = append(p.matrices, w)
	}
	if profile.Experts() > 0 {
		p.expertWork(mem, layout)
		return p
	}
	// One half of the memory for layers as a cache has them, one for complete ones.
	half := int64(len(mem) / 2)
	s := device.Slots{Stride: layout.BundleStride(), DType: layout.MLPDType(), Cols: d, Parts: profile.NeuronParts}
	n := min(int64(profile.FFN), half/s.Stride)
	for i := range n {
		p.ids = append(p.ids, int32(i))
	}
	p.h = make([]float32, n)
	for at := int64(0); at+n*s.Stride <= half && len(p.apart) < profile.Layers; at += n * s.Stride {
		s.Data = mem[at : at+n*s.Stride]
		p.apart = append(p.apart, s)
		s.Data = mem[half+at : half+at+n*s.Stride]
		p.together = append(p.together, b.SplitParts(s, 0, p.ids))
	}
	return p
}

// expertWork makes a token's work of each layer with experts, as much as fits. Experts
// lie in the memory one after the other, each layer's where the last one's end.
func (p *passes) expertWork(mem []byte, layout *pack.Layout) {
	profile := layout.Profile()
	for l := range profile.Layers {
		w := device.ExpertWork{Act: profile.Activation, First: []int32{0}}
		for i, x := range layout.ExpertParts(l) {
			w.Parts[i] = device.ExpertPart(x)
		}
		size := layout.ExpertBytes(l)
		for range profile.MoE(l).TopK {
			if size > int64(len(mem)) {
				break
			}
			var data [3][]byte
			for i, x := range layout.ExpertParts(l) {
				data[i], mem = mem[:x.Bytes():x.Bytes()], mem[x.Bytes():]
			}
			n := int32(len(w.IDs))
			w.IDs, w.Data = append(w.IDs, n), append(w.Data, data)
			w.Tokens, w.First = append(w.Tokens, 0), append(w.First, n+1)
		}
		if len(w.IDs) > 0 {
			p.experts = append(p.experts, w)
		}
	}
	p.y = device.NewAct(max(1, profile.MostTopK()), profile.HiddenSize)
}

// expert computes a token's experts of the layers.
func (p *passes) expert() (bytes int64) {
	for i := range p.experts {
		w := &p.experts[i]
		p.b.Experts(p.y, p.x, w, w.IDs)
		for _, parts := range w.Data {
			for _, data := range parts {
				bytes += int64(len(data))
			}
		}
	}
	return bytes
}

// load loads all of the memory and computes nothing.
func (p *passes) load() (bytes int64) {
	p.b.Load(p.parts)
	return int64(len(p.parts)) * partBytes
}

// rows multiplies a token with matrices.
func (p *passes) rows() (bytes int64) {
	for _, w := range p.matrices {
		p.b.Linear(p.y, p.x, w, nil)
		bytes += int64(len(w.Data))
	}
	return bytes
}

// complete computes all neurons of the layers.
func (p *passes) complete() (bytes int64) {
	if p.experts != nil {
		return p.expert()
	}
	for _, s := range p.together {
		bytes += p.mlp(s, p.ids)
	}
	return bytes
}

// neurons computes a few neurons of every layer at a time, until all have been
// computed once.
func (p *passes) neurons() (bytes int64) {
	if p.experts != nil {
		return p.expert()
	}
	for range wantedOf {
		ids := p.wanted()
		for _, s := range p.apart {
			bytes += p.mlp(s, ids)
		}
		p.turn++
	}
	return bytes
}

// wanted is one of every wantedOf neurons, another each turn, in no order.
func (p *passes) wanted() []int32 {
	p.some = p.some[:0]
	for at := 0; at < len(p.ids); at += wantedOf {
		if i := at + (p.turn+at/wantedOf*7)%wantedOf; i < len(p.ids) {
			p.some = append(p.some, int32(i))
		}
	}
	return p.some
}

// mlp computes some neurons of a layer for a token.
func (p *passes) mlp(s device.Slots, ids []int32) (bytes int64) {
	w := device.Work{IDs: ids, Slots: ids, Act: config.ReLU}
	p.b.Up(p.h[:len(ids)], p.x, s, w, p.ids[:len(ids)])
	p.b.Down(p.y, p.h[:len(ids)], s, w)
	return int64(s.Parts) * int64(len(ids)) * s.DType.RowBytes(s.Cols)
}
