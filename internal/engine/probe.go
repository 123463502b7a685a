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
	var parts [][]byte
	load := func() { // one operation
		for _, p := range parts {
			bytes += int64(len(p))
		}
		begin := time.Now()
		e.backend.Load(parts)
		took += time.Since(begin)
		parts = parts[:0]
	}
	matrix := func(b []byte) {
		parts = slices.AppendSeq(parts, slices.Chunk(b, matrixPiece))
		load()
	}
	s := e.coordinator.Slots
	for layer := range e.model.Weights.Layers {
		w := &e.model.Weights.Layers[layer]
		for _, m := range []*model.Matrix{&w.Q, &w.K, &w.V, &w.O} {
			matrix(m.Data)
		}
		if p, ok := e.coordinator.Predictor.(*predict.Sketch); ok {
			matrix(p.Layers[layer].Codes)
		}
		// A layer that wants no neuron touches none.
		for ; len(step) > 0 && step[0].Layer == layer; step = step[1:] {
			for part := range s.Parts - 1 {
				for _, slot := range step[0].Slots {
					parts = append(parts, s.Vec(slot, part))
				}
			}
			load()
			for _, slot := range step[0].Down {
				parts = append(parts, s.Vec(slot, s.Parts-1))
			}
			load()
		}
	}
	matrix(e.model.Weights.Head.Data)
	return bytes, took
}

// matrixPiece is the bytes of a matrix that threads take at a time.
const matrixPiece = 64 << 10
