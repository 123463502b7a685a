package convert

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A layerJob converts the neurons of one layer. They are cut into units of
// neurons whose sketches are one checked block, so that units can be written in
// any order.
type layerJob struct {
	*job
	layer  int
	prefix string // of the names of the layer's tensors
	from   arch.Neurons
	unit   int // neurons

	sketchTensor, scaleTensor pack.Tensor // zero without a sketch

	scales  []byte       // [ffn] f32; nil until needed
	left    atomic.Int64 // units not finished
	warmed  sync.Once
	warmErr error
}

func newLayerJob(j *job, layer int) *layerJob {
	l := &layerJob{job: j, layer: layer, prefix: "layers." + strconv.Itoa(layer) + ".", from: j.source.tensors.Layers[layer]}
	l.unit = max(1, blockBytes/pack.SketchBytes(j.d))
	if t, ok := j.w.Tensor(l.prefix + "mlp.sketch"); ok {
		l.sketchTensor = t
		l.scaleTensor, _ = j.w.Tensor(l.prefix + "mlp.sketch_scale")
		l.unit = t.BlockRows
	}
	l.left.Store(int64((j.ffn + l.unit - 1) / l.unit))
	return l
}

// warm reads fc2 once in order, if strips of it will be read, so that they come
// from the page cache: one read of a strip touches a page per row, which a disk
// would serve hundreds of times slower.
func (l *layerJob) warm(ctx context.Context, buf *buffers) error {
	l.warmed.Do(func() {
		down := l.from.Down
		if down.Bytes() <= int64(len(buf.strip)) {
			return // read whole
		}
		for off := int64(0); off < down.Bytes() && l.warmErr == nil; off += int64(len(buf.piece)) {
			if l.warmErr = ctx.Err(); l.warmErr == nil {
				_, l.warmErr = down.ReadAt(buf.piece[:min(int64(len(buf.piece)), down.Bytes()-off)], off)
			}
		}
	})
	return l.warmErr
}

// neurons converts the unit that starts at neuron first.
func (l *layerJob) neurons(ctx context.Context, first int, buf *buffers) error {
	if err := l.warm(ctx, buf); err != nil {
		return err
	}
	n := min(l.unit, l.ffn-first)
	var sketch, scales []byte
	if l.sketchTensor.Rows > 0 {
		sketch = sized(&buf.block, n*int(l.sketchTensor.RowBytes))
		scales = l.scalesOf(first, n)
	}
	width := max(1, len(buf.strip)/int(l.from.Down.DType.RowBytes(l.d))) // neurons of a strip
	for i := 0; i < n; i += width {
		s := strip{layerJob: l, first: first + i, n: min(width, n-i)}
		if sketch != nil {
			s.sketch, s.scales = sketch[i*int(l.sketchTensor.RowBytes):], scales[4*i:]
		}
		if err := s.convert(ctx, buf); err != nil {
			return err
		}
	}
	return l.finish(first, sketch)
}

// scalesOf is where the scales of n neurons go.
func (l *layerJob) scalesOf(first, n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.scales == nil {
		l.scales = make([]byte, 4*l.ffn)
	}
	return l.scales[4*first : 4*(first+n)]
}

// finish writes a unit's sketch, and with the last unit the layer's scales.
func (l *layerJob) finish(first int, sketch []byte) error {
	last := l.left.Add(-1) == 0
	if sketch == nil {
		return nil
	}
	err := l.w.WriteBlock(l.sketchTensor, first/l.unit, sketch)
	if last && err == nil {
		err = l.w.WriteTensor(l.scaleTensor, l.scales)
		l.scales = nil
	}
	return err
}

// A strip is the neurons whose columns of fc2 are in memory together.
type strip struct {
	*layerJob
	first, n       int
	sketch, scales []byte // from these neurons on; nil without a sketch
}

// convert writes the strip's bundles, a few at a time.
func (s strip) convert(ctx context.Context, buf *buffers) error {
	if err := s.read(ctx, buf); err != nil {
		return err
	}
	parts, stride := s.from.Parts(), int(s.w.BundleStride())
	rows := parts[:len(parts)-1]
	longest := int64(0)
	for _, t := range rows {
		longest = max(longest, t.DType.RowBytes(s.d))
	}
	step := max(1, min(len(buf.out)/stride, len(buf.piece)/int(longest)))
	for i := 0; i < s.n; i += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(step, s.n-i)
		// Nothing else uses this buffer, so that padding stays zero.
		out := sized(&buf.out, n*stride)
		for part, t := range rows {
			if err := s.rows(out, t, part, i, n, buf); err != nil {
				return err
			}
		}
		if err := s.downColumns(out, i, n, buf); err != nil {
			return err
		}
		if err := s.w.WriteBundles(s.layer, s.first+i, out); err != nil {
			return err
		}
		s.advance("layer "+strconv.Itoa(s.layer), int64(len(out)))
	}
	return nil
}

// read fills buf.strip with the columns of fc2, [d, n] in its stored type.
func (s strip) read(ctx context.Context, buf *buffers) error {
	down := s.from.Down
	row := int(down.DType.RowBytes(s.n))
	p := sized(&buf.strip, s.d*row)
	if s.n == s.ffn {
		_, err := down.ReadAt(p, 0)
		return err
	}
	all, at := down.DType.RowBytes(s.ffn), down.DType.RowBytes(s.first)
	for r := range s.d {
		if r%512 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := down.ReadAt(p[r*row:(r+1)*row], int64(r)*all+at); err != nil {
			return err
		}
	}
	return nil
}

// rows puts rows i to i+n of a matrix where a part of the bundles is, and sketches
// those of the first part as they are stored there.
func (s strip) rows(out []byte, from *source.Tensor, part, i, n int, buf *buffers) error {
	d := s.spec.MLP
	row := int(from.DType.RowBytes(s.d))
	piece := sized(&buf.piece, n*row)
	if _, err := from.ReadAt(piece, int64(s.first+i)*int64(row)); err != nil {
		return err
	}
	sketch := s.sketch != nil && part == 0
	if sketch && len(buf.row) < s.d {
		buf.row = make([]float32, s.d)
	}
	for k := range n {
		b := out[int64(k)*s.w.BundleStride()+int64(part)*d.RowBytes(s.d):]
		if err := narrow(b, d, piece[k*row:(k+1)*row], from.DType); err != nil {
			return s.badValue(from, err)
		}
		if !sketch {
			continue
		}
		w := buf.row[:s.d]
		tensor.Decode(w, b, d)
		size := int(s.sketchTensor.RowBytes)
		scale := pack.PackSketch(s.sketch[(i+k)*size:(i+k+1)*size], w)
		tensor.Encode(s.scales[4*(i+k):], []float32{scale}, tensor.F32)
	}
	return nil
}

// downColumns puts columns i to i+n of fc2 where the bundles' last part is.
func (s strip) downColumns(out []byte, i, n int, buf *buffers) error {
	down, d := s.from.Down, s.spec.MLP
	size := int(down.DType.RowBytes(1))
	stride, at := int(s.w.BundleStride()), (len(s.from.Parts())-1)*int(d.RowBytes(s.d))
	column := s.d * size
	columns := sized(&buf.piece, n*column)
	transpose(columns, column, buf.strip[i*size:], s.n*size, s.d, n, size)
	for k := range n {
		if err := narrow(out[k*stride+at:], d, columns[k*column:(k+1)*column], down.DType); err != nil {
			return s.badValue(down, err)
		}
	}
	return nil
}
