package cpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Load reads parts from memory and does nothing with them, on all threads: the
// speed that no operation over the same bytes can exceed. It returns the sum
// of all parts (see kernel.Set.Load), which does not depend on the threads.
func (b *Backend) Load(parts [][]byte) uint64 {
	if len(parts) == 0 {
		return 0
	}
	l := &load{k: &b.k, parts: parts}
	b.pool.run(l, len(parts), b.units(int64(len(parts[0]))))
	return l.sum.Load()
}

type load struct {
	k     *kernel.Set
	parts [][]byte
	sum   atomic.Uint64
}

func (l *load) run(lo, hi, _ int) {
	sum := uint64(0)
	for _, p := range l.parts[lo:hi] {
		sum += l.k.Load(p)
	}
	l.sum.Add(sum)
}

// LoadRows loads the rows of a matrix, rowBytes long each, as Linear and Sketch
// read them for one token: each thread whole chunks of consecutive rows, what
// follows asked for ahead.
func (b *Backend) LoadRows(data []byte, rowBytes int) uint64 {
	l := &loadRows{k: &b.k, data: data, rowBytes: rowBytes}
	b.pool.run(l, len(data)/rowBytes, b.units(int64(rowBytes)))
	return l.sum.Load()
}

type loadRows struct {
	k        *kernel.Set
	data     []byte
	rowBytes int
	sum      atomic.Uint64
}

func (l *loadRows) run(lo, hi, _ int) {
	l.sum.Add(l.k.LoadNext(l.data[lo*l.rowBytes:hi*l.rowBytes], nil))
}

// LoadUp loads the first half of the neurons in slots as Up reads it for one
// token.
func (b *Backend) LoadUp(s device.Slots, slots []int32) uint64 {
	l := &loadVecs{k: &b.k, s: s, slots: slots}
	b.pool.run((*loadUp)(l), len(slots), b.units(s.DType.RowBytes(s.Cols)))
	return l.sum.Load()
}

// LoadDown loads the last part of the neurons in slots as Down reads it for one
// token that takes the second half of all of them.
func (b *Backend) LoadDown(s device.Slots, slots []int32) uint64 {
	l := &loadVecs{k: &b.k, s: s, slots: slots}
	strips, units := b.downSplit(s, len(slots), 1)
	b.pool.run((*loadDown)(l), strips, units)
	return l.sum.Load()
}

// loadVecs is vectors of some neurons to load.
type loadVecs struct {
	k     *kernel.Set
	s     device.Slots
	slots []int32
	sum   atomic.Uint64
}

type loadUp loadVecs

func (p *loadUp) run(lo, hi, _ int) {
	l := (*loadVecs)(p)
	l.load(l.slots[lo:hi], l.s.DType.RowBytes(l.s.Cols), func(slot int32) []byte { return l.s.Vec(slot, 0) })
}

type loadDown loadVecs

func (p *loadDown) run(lo, hi, _ int) {
	l := (*loadVecs)(p)
	for j0, j1 := range inPieces(l.s, lo*downStrip, hi*downStrip) {
		b0, b1 := l.s.DType.RowBytes(j0), l.s.DType.RowBytes(j1)
		cols := l.s.Columns(b0, b1)
		l.load(l.slots, b1-b0, cols.Of)
	}
}

// load loads n bytes of each neuron, those of the neurons that follow in slots
// asked for ahead.
func (l *loadVecs) load(slots []int32, n int64, of func(slot int32) []byte) {
	sum, ahead := uint64(0), aheadRows(n)
	for i, slot := range slots {
		v := of(slot)
		next := v
		if i+ahead < len(slots) {
			next = of(slots[i+ahead])
		}
		sum += l.k.LoadNext(v, unsafe.SliceData(next))
	}
	l.sum.Add(sum)
}
