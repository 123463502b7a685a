package engine

import (
	"slices"

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
// half of some neurons.
type Read struct {
	Rows     []byte // nil for neurons
	RowBytes int
	Memory   device.Slots
	Slots    []int32
	Down     bool // the last part of the neurons, else all before it
}

// Bytes is how many bytes r reads.
func (r *Read) Bytes() int64 {
	if r.Rows != nil {
		return int64(len(r.Rows))
	}
	return upDownBytes(r.Memory, len(r.Slots), r.Down)
}

func upDownBytes(s device.Slots, neurons int, down bool) int64 {
	parts := s.Parts - 1
	if down {
		parts = 1
	}
	return int64(neurons) * int64(parts) * s.DType.RowBytes(s.Cols)
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

// Up is the backend's.
func (m *meter) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	m.bytes += upDownBytes(s, len(sel), false)
	if m.reads != nil && len(sel) > 0 {
		m.slots = m.slots[:0]
		for _, n := range sel {
			m.slots = append(m.slots, w.Slots[n])
		}
		m.reads(Read{Memory: s, Slots: m.slots})
	}
	m.Backend.Up(h, x, s, w, sel)
}

// Down is the backend's. Second halves that count for no token are not read.
func (m *meter) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	n := 0
	m.slots = m.slots[:0]
	for i, slot := range w.Slots {
		if !w.SkipZero || slices.ContainsFunc(h[i*y.Rows:(i+1)*y.Rows], func(v float32) bool { return v != 0 }) {
			n++
			if m.reads != nil {
				m.slots = append(m.slots, slot)
			}
		}
	}
	m.bytes += upDownBytes(s, n, true)
	if m.reads != nil && n > 0 {
		m.reads(Read{Memory: s, Slots: m.slots, Down: true})
	}
	m.Backend.Down(y, h, s, w)
}
