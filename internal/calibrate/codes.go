package calibrate

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	sketchBits = 4 // the width of the pack's sketch
	codeBits   = 3 // of codes that a layer may have of its own
)

// codes is a sketch of a layer whose codes were rounded for inputs x.
func (f *fitter) codes(ctx context.Context, l int, x device.Act) (c predict.Codes, err error) {
	r, err := newRounder(ctx, f.be, x)
	if err != nil {
		return c, err
	}
	m, slots, err := f.slots()
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	c = predict.Codes{Bits: codeBits, Rows: make([]byte, f.ffn*kernel.Sketch3Bytes(f.d))}
	w, norm := make([]float32, blockNeurons*f.d), make([]float32, blockNeurons)
	for first := 0; first < f.ffn; first += blockNeurons {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		count := min(blockNeurons, f.ffn-first)
		if err := f.neurons(l, first, count, slots, norm); err != nil {
			return c, err
		}
		for i := range count {
			tensor.Decode(w[i*f.d:(i+1)*f.d], slots.Vec(int32(i), 0), slots.DType)
		}
		f.roundBlock(r, c, first, w[:count*f.d])
	}
	return c, nil
}

// roundBlock rounds the weights w [count, d] of the neurons from first on. Rows
// are rounded apart, so that codes do not depend on threads.
func (f *fitter) roundBlock(r *rounder, c predict.Codes, first int, w []float32) {
	count := len(w) / f.d
	parallel.For(f.c.Threads, count, (count+fitParts-1)/fitParts, func(from, to int) {
		codes := make([]byte, (to-from)*f.d)
		r.round(codes, w[from*f.d:to*f.d])
		size := kernel.Sketch3Bytes(f.d)
		for i := range to - from {
			at := (first + from + i) * size
			kernel.PackSketch3(c.Rows[at:at+size], codes[i*f.d:(i+1)*f.d])
		}
	})
}

// codesCandidate is a layer's own codes, for inputs x.
func codesCandidate(be *cpu.Backend, x device.Act, codes predict.Codes, ffn int) *candidate {
	sk := device.SketchMat{Codes: codes.Rows, Bits: codes.Bits, RowBytes: len(codes.Rows) / ffn, Rows: ffn, Cols: x.Cols, Scales: make([]float32, ffn)}
	for i := range sk.Scales {
		sk.Scales[i] = 1
	}
	c := sketchCandidate(be, x, sk)
	c.out.Codes = codes
	return c
}
