package calibrate

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/predict"
)

const (
	sketchBits = 4 // the width of the pack's sketch
	codeBits   = 3 // of codes that a layer may have of its own
)

// codes is a sketch of a layer whose codes are rounded for inputs of the
// covariance cov, which it overwrites.
func (f *fitter) codes(ctx context.Context, w *weights, cov []float32) (predict.Codes, error) {
	r, err := newRounder(ctx, cov, f.d)
	if err != nil {
		return predict.Codes{}, err
	}
	c := predict.Codes{Bits: codeBits, Rows: make([]byte, f.ffn*kernel.Sketch3Bytes(f.d))}
	for first := 0; first < f.ffn; first += blockNeurons {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		f.roundBlock(r, c, first, w.floats(first, min(blockNeurons, f.ffn-first)))
	}
	return c, nil
}

// roundBlock rounds the weights w [count, d] of the neurons from first on. Rows
// are rounded apart, so that codes do not depend on threads.
func (f *fitter) roundBlock(r *rounder, c predict.Codes, first int, w []float32) {
	count := len(w) / f.d
	parallel.Each(f.c.Threads, fitParts, func(p int) {
		from, to := p*count/fitParts, (p+1)*count/fitParts
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
func (f *fitter) codesCandidate(x device.Act, codes predict.Codes) *candidate {
	sk := device.SketchMat{Codes: codes.Rows, Bits: codes.Bits, RowBytes: len(codes.Rows) / f.ffn, Rows: f.ffn, Cols: f.d, Scales: make([]float32, f.ffn)}
	for i := range sk.Scales {
		sk.Scales[i] = 1
	}
	c := sketchCandidate(f.be, x, sk)
	c.out.Codes = codes
	return c
}
