package engine

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
)

// meter is the backend, with the weights that its operations read counted, and
// noted on request for Load to read them again. Model and predictors compute
// through it, so that what is counted and what is loaded are the same bytes.
type meter struct {
	*cpu.Backend
	bytes  int64 // of weights read, each once for all tokens of an operation
	record bool
	ops    []read // while record
}

// read is the weights that one operation reads: the rows of a matrix or one
// half of some neurons.
type read struct {
	rows     []byte // nil for neurons
	rowBytes int
	memory   device.Slots
	slots    []int32
	down     bool // the last part of the neurons, else all before it
}

// bytes is how many bytes r reads.
func (r *read) bytes() int64 {
	if r.rows != nil {
		return int64(len(r.rows))
	}
	return upDownBytes(r.memory, len(r.slots), r.down)
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
	if m.record {
		m.ops = append(m.ops, read{rows: data, rowBytes: int(rowBytes)})
	}
}

// Up is the backend's.
func (m *meter) Up(h []float32, x device.Act, s device.Slots, w device.Work, sel []int32) {
	m.bytes += upDownBytes(s, len(sel), false)
	if m.record && len(sel) > 0 {
		op := read{memory: s, slots: make([]int32, len(sel))}
		for i, n := range sel {
			op.slots[i] = w.Slots[n]
		}
		m.ops = append(m.ops, op)
	}
	m.Backend.Up(h, x, s, w, sel)
}

// Down is the backend's. Second halves that count for no token are not read.
func (m *meter) Down(y device.Act, h []float32, s device.Slots, w device.Work) {
	n, op := 0, read{memory: s, down: true}
	for i, slot := range w.Slots {
		if !w.SkipZero || slices.ContainsFunc(h[i*y.Rows:(i+1)*y.Rows], func(v float32) bool { return v != 0 }) {
			n++
			if m.record {
				op.slots = append(op.slots, slot)
			}
		}
	}
	m.bytes += upDownBytes(s, n, true)
	if m.record && n > 0 {
		m.ops = append(m.ops, op)
	}
	m.Backend.Down(y, h, s, w)
}
