package cpu

import "github.com/sparseflow/sparseflow/internal/device"

// SplitParts lays a layer's bundles out so that a pass over one part of many
// neurons reads memory in order. It takes the len(at) bundles in the slots from
// first on; neuron i's is in slot first+at[i]. Afterwards the vectors of part 0
// come one after the other, those of part 1 after them, and so on, the i-th of
// each being neuron i's.
//
// A thread reads only some columns of the last part. So that is in a block of
// columns for each thread, where that leaves blocks of whole strips. Where the
// neurons are a multiple of Streams, rows of a block are interleaved: Down reads
// Streams of them at a time, and of each page of memory a processor fetches ahead
// by itself for one reader alone.
//
// SplitParts returns that memory as slots of the same numbers. Besides, it needs
// some bytes a vector, to find the cycles of the permutation, and a block of one
// vector for each thread.
func (b *Backend) SplitParts(s device.Slots, first int, at []int32) device.Slots {
	row := s.DType.RowBytes(s.Cols)
	n := int64(len(at))
	region := s.Data[int64(first)*s.Stride:][:n*s.Stride]
	bundle := int64(s.Parts) * row
	if s.Stride > bundle { // so that all is vectors
		for i := range n {
			copy(region[i*bundle:], region[i*s.Stride:][:bundle])
		}
	}
	s.Data, s.Stride, s.PartStride, s.First, s.ColBlocks = region, row, n*row, int32(first), 1
	if s.Cols%(b.pool.threads()*downStrips) == 0 {
		s.ColBlocks = b.pool.threads()
	}
	s.Interleaved = len(at)%device.Streams == 0
	t := &splitParts{data: region, size: row / int64(s.ColBlocks), parts: s.Parts, blocks: s.ColBlocks, interleaved: s.Interleaved, at: at, spare: make([][]byte, b.pool.threads())}
	t.find()
	b.pool.run(t, len(t.begins), b.units(t.size))
	return s
}

// splitParts moves blocks of vectors along the cycles of the permutation.
type splitParts struct {
	data        []byte
	size        int64 // of a block
	parts       int
	blocks      int // of a vector
	interleaved bool
	at          []int32
	begins      []int32  // a block of each cycle that moves anything
	spare       [][]byte // [threads]
}

// from is the block that belongs where the k-th is.
func (t *splitParts) from(k int32) int32 {
	n, blocks := int32(len(t.at)), int32(t.blocks)
	part, in := k/(n*blocks), k%(n*blocks)
	neuron, block := in/blocks, in%blocks
	if int(part) == t.parts-1 {
		neuron, block = in%n, in/n
		if t.interleaved {
			each := n / device.Streams
			neuron = neuron%each*device.Streams + neuron/each
		}
	}
	return (t.at[neuron]*int32(t.parts)+part)*blocks + block
}

// find finds the cycles.
func (t *splitParts) find() {
	seen := make([]bool, len(t.at)*t.parts*t.blocks)
	for k := range seen {
		if seen[k] || t.from(int32(k)) == int32(k) {
			continue
		}
		t.begins = append(t.begins, int32(k))
		for i := int32(k); !seen[i]; i = t.from(i) {
			seen[i] = true
		}
	}
}

func (t *splitParts) block(k int32) []byte { return t.data[int64(k)*t.size:][:t.size] }

func (t *splitParts) run(lo, hi, worker int) {
	if t.spare[worker] == nil {
		t.spare[worker] = make([]byte, t.size)
	}
	spare := t.spare[worker]
	for _, begin := range t.begins[lo:hi] {
		copy(spare, t.block(begin))
		hole := begin
		for next := t.from(hole); next != begin; hole, next = next, t.from(next) {
			copy(t.block(hole), t.block(next))
		}
		copy(t.block(hole), spare)
	}
}
