package model

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Loader finds room in fast memory for all that is resident and then reads it
// there, part by part: what every step begins and ends with, then layer by layer.
// Room is found by one goroutine; the reads may be another's.
type Loader struct {
	Store  *disk.DiskWeightStore
	Memory *memory.Memory
	// Resident says which matrices are loaded; the others stream.
	Resident map[string]bool
	// Stream reads blocks ahead of the one that is being copied.
	Stream *disk.BlockReader
	// Progress is told how many bytes have been read.
	Progress func(bytes int64)

	parts []part // Shared, then the layers; none before Weights
}

// part is what has room and is still to be read.
type part struct {
	places []place
	after  []func()
}

// place is where a tensor goes: one of bytes and floats.
type place struct {
	tensor pack.Tensor
	bytes  []byte
	floats []float32 // of a vector, whatever its elements are in the file
}

// Shared is, where a layer is asked for, what belongs to none.
const Shared = -1

// upRun is how many neurons Up reads at a time.
const upRun = 32

// Up reads the first parts of all neurons of a layer, [ffn, d], through
// slots.
func (l *Loader) Up(ctx context.Context, layer int, slots device.Slots) (device.Mat, error) {
	p := l.Store.Pack().Profile()
	m := device.Mat{DType: slots.DType, Rows: p.FFN, Cols: p.HiddenSize}
	row := m.DType.RowBytes(m.Cols)
	m.Data = l.Memory.Piece(int64(m.Rows) * row)
	dst := make([][]byte, min(upRun, int(int64(len(slots.Data))/slots.Stride)))
	for i := range dst {
		dst[i] = slots.Bundle(int32(i))
	}
	for first := 0; first < p.FFN; first += len(dst) {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		n := min(len(dst), p.FFN-first)
		if err := l.Store.ReadNeurons(layer, first, dst[:n]); err != nil {
			return m, err
		}
		for i := range n {
			copy(m.Data[int64(first+i)*row:], slots.Vec(int32(i), 0))
		}
	}
	l.Progress(int64(len(m.Data)))
	return m, nil
}

// Room is the memory of a layer's matrices and sketch, or of those of Shared.
func (l *Loader) Room(layer int) (all [][]byte) {
	for _, p := range l.parts[1+layer].places {
		if p.bytes != nil {
			all = append(all, p.bytes)
		}
	}
	return all
}

// After has f called when a layer has been read, by whoever reads it.
func (l *Loader) After(layer int, f func()) {
	p := &l.parts[1+layer]
	p.after = append(p.after, f)
}

// Read reads what has room of a layer, or of Shared, and was not read before: one
// block after the other, with the next ones on their way.
func (l *Loader) Read(ctx context.Context, layer int) error {
	p := &l.parts[1+layer]
	for _, x := range p.places {
		l.Stream.Queue(x.tensor)
	}
	for _, x := range p.places {
		if err := l.fill(ctx, x); err != nil {
			l.Stream.Reset()
			return err
		}
		l.Memory.Lock(x.bytes)
		l.Progress(x.tensor.MemoryBytes())
	}
	for _, f := range p.after {
		f()
	}
	*p = part{}
	return nil
}

func (l *Loader) fill(ctx context.Context, p place) error {
	for b := range p.tensor.Blocks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := l.Stream.Block(p.tensor, b)
		if err != nil {
			return err
		}
		row, _ := p.tensor.Block(b)
		if p.bytes != nil {
			copy(p.bytes[int64(row)*p.tensor.RowBytes:], data)
			continue
		}
		_, rows := p.tensor.Block(b)
		tensor.Decode(p.floats[row*p.tensor.Cols:][:rows*p.tensor.Cols], data, p.tensor.Elem)
	}
	return nil
}
