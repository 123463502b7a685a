package cpu

import "github.com/sparseflow/sparseflow/internal/device"

// Separate brings together what a pass over many neurons reads: it moves the
// len(at) bundles in the slots from first on so that the vectors of part 0 come
// one after the other, those of part 1 after them, and so on, the i-th of each
// being neuron i's, whose bundle was in slot first+at[i]. The last part's, of
// which a thread reads some columns only, are in a piece for each thread, where
// that leaves pieces of whole strips, and dealt to streams, where the neurons are a
// multiple of these: Down reads that many at a time, and of each page of memory a
// processor fetches ahead by itself for one reader alone. It returns that memory as
// slots of the same numbers. Besides, it needs some bytes a vector, to find the
// cycles of the permutation, and a piece for each thread.
func (b *Backend) Separate(s device.Slots, first int, at []int32) device.Slots {
	row := s.DType.RowBytes(s.Cols)
	n := int64(len(at))
	region := s.Data[int64(first)*s.Stride:][:n*s.Stride]
	bundle := int64(s.Parts) * row
	if s.Stride > bundle { // so that all is vectors
		for i := range n {
			copy(region[i*bundle:], region[i*s.Stride:][:bundle])
		}
	}
	s.Data, s.Stride, s.Plane, s.First, s.Pieces = region, row, n*row, int32(first), 1
	if s.Cols%(b.pool.threads()*downStrips) == 0 {
		s.Pieces = b.pool.threads()
	}
	s.Dealt = len(at)%device.Streams == 0
	t := &separate{data: region, size: row / int64(s.Pieces), parts: s.Parts, pieces: s.Pieces, dealt: s.Dealt, at: at, spare: make([][]byte, b.pool.threads())}
	t.find()
	b.pool.run(t, len(t.begins), b.units(t.size))
	return s
}

// separate moves pieces of vectors along the cycles of the permutation.
type separate struct {
	data   []byte
	size   int64 // of a piece
	parts  int
	pieces int // of a vector
	dealt  bool
	at     []int32
	begins []int32  // a piece of each cycle that moves anything
	spare  [][]byte // [threads]
}

// from is the piece that belongs where the k-th is.
func (t *separate) from(k int32) int32 {
	n, pieces := int32(len(t.at)), int32(t.pieces)
	part, in := k/(n*pieces), k%(n*pieces)
	neuron, piece := in/pieces, in%pieces
	if int(part) == t.parts-1 {
		neuron, piece = in%n, in/n
		if t.dealt {
			each := n / device.Streams
			neuron = neuron%each*device.Streams + neuron/each
		}
	}
	return (t.at[neuron]*int32(t.parts)+part)*pieces + piece
}

// find finds the cycles.
func (t *separate) find() {
	seen := make([]bool, len(t.at)*t.parts*t.pieces)
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

func (t *separate) piece(k int32) []byte { return t.data[int64(k)*t.size:][:t.size] }

func (t *separate) run(lo, hi, worker int) {
	if t.spare[worker] == nil {
		t.spare[worker] = make([]byte, t.size)
	}
	spare := t.spare[worker]
	for _, begin := range t.begins[lo:hi] {
		copy(spare, t.piece(begin))
		hole := begin
		for next := t.from(hole); next != begin; hole, next = next, t.from(next) {
			copy(t.piece(hole), t.piece(next))
		}
		copy(t.piece(hole), spare)
	}
}
