package engine

import (
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
)

// meter is the backend, with the weights counted that its operations read, each
// once for all tokens of an operation.
type meter struct {
	*cpu.Backend
	bytes int64
	reads func(Read) // Options.Reads
	slots []int32    // scratch for it
}

// Read is the weights that one operation reads: the rows of a matrix or one
// part of some neurons.
type Read struct {
	Rows     []byte // nil for neurons
	RowBytes int
	Memory   device.Slots
	Slots    []int32
	Part     int
}

// Bytes is how many bytes r reads.
func (r *Read) Bytes() int64 {
	if r.Rows != nil {
		return int64(len(r.Rows))
	}
	return int64(len(r.Slots)) * r.Memory.DType.RowBytes(r.Memory.Cols)
}

// Linear is the backend's.
func (m *meter) Linear(y, x device.Act, w device.Mat, bias []float32) {
	m.matrix(w.Data, w.DType.RowBytes(w.Cols))
	m.Backend.Linear(y, x, w, bias)
}

// Sketch is the backend's.
func (m *meter) Sketch(y, x device.Act, w device.SketchMat) {
	m.matrix(w.Codes, int64(w.RowBytes))
	m.Backend.Sketch(y, x, w)
}

func (m *meter) matrix(data []byte, rowBytes int64) {
	m.bytes += int64(len(data))
	if m.reads != nil {
		m.reads(Read{Rows: data, RowBytes: int(rowBytes)})
	}
}

// Up is the backend's. Second parts that multiply nothing but zeros are not read.
func (m *meter) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	m.Backend.Up(h, x, s, w, sel)
	for part := range s.Parts - 1 {
		m.slots = m.slots[:0]
		for _, n := range sel {
			if part == 0 || !w.SkipZero || !w.Act.Sparse() || counts(h, int(n), x.Rows) {
				m.slots = append(m.slots, w.Slots[n])
			}
		}
		m.neurons(s, part)
	}
}

// Down is the backend's. Last parts that count for no token are not read.
func (m *meter) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	m.slots = m.slots[:0]
	for i, slot := range w.Slots {
		if !w.SkipZero || counts(h, i, y.Rows) {
			m.slots = append(m.slots, slot)
		}
	}
	m.neurons(s, s.Parts-1)
	m.Backend.Down(y, h, s, w)
}

// Experts is the backend's. An expert that is computed for no token is not read.
func (m *meter) Experts(y, x device.Act, w *device.ExpertWork, sel []int32) {
	for _, i := range sel {
		if w.First[i] == w.First[i+1] {
			continue
		}
		for part, p := range w.Parts {
			m.matrix(w.Data[i][part], p.DType.RowBytes(p.Cols))
		}
	}
	m.Backend.Experts(y, x, w, sel)
}

// counts reports whether the i-th neuron is active at any of so many tokens.
func counts(h []float32, i, tokens int) bool {
	for _, v := range h[i*tokens : (i+1)*tokens] {
		if v != 0 {
			return true
		}
	}
	return false
}

// neurons counts a part of the neurons in m.slots.
func (m *meter) neurons(s device.Slots, part int) {
	r := Read{Memory: s, Slots: m.slots, Part: part}
	m.bytes += r.Bytes()
	if m.reads != nil && len(m.slots) > 0 {
		m.reads(r)
	}
}
