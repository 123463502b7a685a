package cpu

import "github.com/sparseflow/sparseflow/internal/device"

// Separate brings together what a pass over many neurons reads: it moves the
// len(at) bundles in the slots from first on so that the vectors of part 0 come
// one after the other, those of part 1 after them, and so on, the i-th of each
// being neuron i's, whose bundle was in slot first+at[i]. It returns that memory
// as slots of the same numbers. Besides, it needs some bytes a vector, to find the
// cycles of the permutation, and one vector for each thread.
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
	t := &separate{data: region, row: row, parts: s.Parts, at: at, spare: make([][]byte, len(b.pool.helpers)+1)}
	t.find()
	b.pool.run(t, len(t.begins), b.units(row))
	s.Data, s.Stride, s.Plane, s.First = region, row, n*row, int32(first)
	return s
}

// separate moves vectors along the cycles of the permutation.
type separate struct {
	data   []byte
	row    int64
	parts  int
	at     []int32
	begins []int32  // a vector of each cycle that moves anything
	spare  [][]byte // [threads]
}

// from is the vector that belongs where the k-th is.
func (t *separate) from(k int32) int32 {
	n := int32(len(t.at))
	return t.at[k%n]*int32(t.parts) + k/n
}

// find finds the cycles.
func (t *separate) find() {
	seen := make([]bool, len(t.at)*t.parts)
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

func (t *separate) vec(k int32) []byte { return t.data[int64(k)*t.row:][:t.row] }

func (t *separate) run(lo, hi, worker int) {
	if t.spare[worker] == nil {
		t.spare[worker] = make([]byte, t.row)
	}
	spare := t.spare[worker]
	for _, begin := range t.begins[lo:hi] {
		copy(spare, t.vec(begin))
		hole := begin
		for next := t.from(hole); next != begin; hole, next = next, t.from(next) {
			copy(t.vec(hole), t.vec(next))
		}
		copy(t.vec(hole), spare)
	}
}
