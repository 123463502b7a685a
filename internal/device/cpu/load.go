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
		sum += l.k.Load(p, nil)
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
	l.sum.Add(l.k.Load(l.data[lo*l.rowBytes:hi*l.rowBytes], nil))
}

// LoadUp loads a part, not the last, of the neurons in slots as Up reads it for
// one token: those that follow one another as rows of a matrix.
func (b *Backend) LoadUp(s device.Slots, slots []int32, part int) uint64 {
	l := &loadVecs{k: &b.k, s: s, slots: slots, part: part}
	b.pool.run((*loadUp)(l), len(slots), b.units(s.DType.RowBytes(s.Cols)))
	return l.sum.Load()
}

// LoadDown loads the last part of the neurons in slots as Down reads it for one
// token that wants all of them.
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
	part  int // of loadUp
	sum   atomic.Uint64
}

type loadUp loadVecs

func (p *loadUp) run(lo, hi, _ int) {
	l := (*loadVecs)(p)
	n, sum := l.s.DType.RowBytes(l.s.Cols), uint64(0)
	ahead := aheadRows(n)
	for slots := l.slots[lo:hi]; len(slots) > 0; {
		if rows := l.together(slots); rows > ahead { // as Up decides
			sum += l.k.Load(l.s.Data[int64(l.part)*l.s.PartStride+int64(slots[0]-l.s.First)*n:][:int64(rows)*n], nil)
			slots = slots[rows:]
			continue
		}
		sum += l.one(slots, ahead, func(slot int32) []byte { return l.s.Vec(slot, l.part) })
		slots = slots[1:]
	}
	l.sum.Add(sum)
}

// together is how many of slots, from the first on, are rows of a matrix.
func (l *loadVecs) together(slots []int32) int {
	rows := 1
	for l.s.PartStride > 0 && rows < len(slots) && slots[rows] == slots[rows-1]+1 {
		rows++
	}
	return rows
}

type loadDown loadVecs

func (p *loadDown) run(lo, hi, _ int) {
	l, sum := (*loadVecs)(p), uint64(0)
	for j0, j1 := range colBlocks(l.s, lo*downStrip, hi*downStrip) {
		b0, b1 := l.s.DType.RowBytes(j0), l.s.DType.RowBytes(j1)
		cols, ahead := l.s.Columns(b0, b1), aheadRows(b1-b0)
		for i := range l.slots {
			sum += l.one(l.slots[i:], ahead, cols.Of)
		}
	}
	l.sum.Add(sum)
}

// one loads what of tells of the first slot, that of the one ahead asked for.
func (l *loadVecs) one(slots []int32, ahead int, of func(slot int32) []byte) uint64 {
	v := of(slots[0])
	next := v
	if ahead < len(slots) {
		next = of(slots[ahead])
	}
	return l.k.Load(v, unsafe.SliceData(next))
}
