package engine

import (
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Touched is the neurons of one segment of a layer that a step multiplied.
type Touched struct {
	Layer int
	Slots []int32 // of the neurons computed
	Down  []int32 // of these, those whose last part was used
}

// NewTouched is what an Observe function saw.
func NewTouched(layer, tokens int, w device.Work, h []float32) Touched {
	t := Touched{Layer: layer, Slots: slices.Clone(w.Slots)}
	for i, s := range w.Slots {
		silent := !slices.ContainsFunc(h[i*tokens:(i+1)*tokens], func(v float32) bool { return v != 0 })
		if !silent || !w.SkipZero {
			t.Down = append(t.Down, s)
		}
	}
	return t
}

// Load reads from memory what a decode step read that touched the given
// neurons, operation by operation on the same threads, and computes nothing:
// the time that no step over the same bytes can beat. Matrices that stream
// are left out. No request may be running.
func (e *Engine) Load(step []Touched) (bytes int64, took time.Duration) {
	var ops [][][]byte // parts of each operation
	layer, down := -1, e.coordinator.Slots.Parts-1
	for _, t := range step {
		if t.Layer != layer {
			layer = t.Layer
			ops = append(ops, e.matrices(layer)...)
		}
		ops = append(ops, e.parts(t.Slots, 0, down), e.parts(t.Down, down, down+1))
	}
	ops = append(ops, cut(e.model.Weights.Head.Data))
	for _, op := range ops {
		for _, p := range op {
			bytes += int64(len(p))
		}
	}
	begin := time.Now()
	for _, op := range ops {
		e.backend.Load(op)
	}
	return bytes, time.Since(begin)
}

// matrices is the operations of a layer before its neurons.
func (e *Engine) matrices(layer int) (ops [][][]byte) {
	w := &e.model.Weights.Layers[layer]
	for _, m := range []*model.Matrix{&w.Q, &w.K, &w.V, &w.O} {
		ops = append(ops, cut(m.Data))
	}
	if s, ok := e.coordinator.Predictor.(*predict.Sketch); ok {
		ops = append(ops, cut(s.Layers[layer].Codes))
	}
	return ops
}

// parts is the vectors lo to hi-1 of slots.
func (e *Engine) parts(slots []int32, lo, hi int) [][]byte {
	s := e.coordinator.Slots
	var p [][]byte
	for _, slot := range slots {
		for i := lo; i < hi; i++ {
			p = append(p, s.Vec(slot, i))
		}
	}
	return p
}

// cut is b in pieces of a size that threads take one by one.
func cut(b []byte) (parts [][]byte) {
	const piece = 64 << 10
	for len(b) > piece {
		parts, b = append(parts, b[:piece]), b[piece:]
	}
	if len(b) > 0 {
		parts = append(parts, b)
	}
	return parts
}
