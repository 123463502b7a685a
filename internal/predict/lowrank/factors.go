// Package lowrank is the predictor of active neurons in the shape of Deja Vu
// (Liu et al., "Deja Vu: Contextual Sparsity for Efficient LLMs at Inference
// Time", 2023): scores = B (A x) + bias with A [rank, d], B [ffn, rank] and
// bias [ffn]. It costs rank (d + ffn) products a token where fc1 costs d ffn.
//
// Package calibrate makes [Factors]. [Factors.Layer] gives them the form in
// which a sidecar keeps them ([NewSection], [ReadSection]) and a [Predictor]
// multiplies them.
package lowrank

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Factors is one layer's predictor: scores = B (A x) + Bias.
type Factors struct {
	D, FFN, Rank int
	A            []float32 // [rank, d]
	B            []float32 // [ffn, rank]
	Bias         []float32 // [ffn]
}

// elem is the element type of stored factors whose rows have n elements: 8
// bits, or float16 where blocks do not fill the rows.
func elem(n int) tensor.DType { return tensor.Q8_0.OfRow(n) }

// FactorBytes is the size of stored factors, with a float32 bias.
func FactorBytes(d, ffn, rank int) int64 {
	return elem(d).RowBytes(d)*int64(rank) + elem(rank).RowBytes(rank)*int64(ffn) + tensor.F32.RowBytes(ffn)
}

// Layer is one layer's factors as they are stored and multiplied. The zero
// Layer is one without a predictor.
type Layer struct {
	A, B device.Mat // [rank, d], [ffn, rank] of elem
	Bias []float32  // [ffn]
}

// Layer is f in its stored form, which shares the bias. A value that is not
// finite, or that the stored form cannot hold, is an error.
func (f Factors) Layer() (l Layer, err error) {
	if f.D < 1 || f.FFN < 1 || f.Rank < 1 || len(f.A) != f.Rank*f.D || len(f.B) != f.FFN*f.Rank || len(f.Bias) != f.FFN {
		return l, fmt.Errorf("lowrank: got factors of %d, %d and %d elements, want %d x %d, %d x %d and %d, all from 1",
			len(f.A), len(f.B), len(f.Bias), f.Rank, f.D, f.FFN, f.Rank, f.FFN)
	}
	if l.A, err = store(nameA, f.A, f.Rank, f.D); err != nil {
		return l, err
	}
	if l.B, err = store(nameB, f.B, f.FFN, f.Rank); err != nil {
		return l, err
	}
	l.Bias = f.Bias
	return l, checkFloats(nameBias, f.Bias)
}

// store is v [rows, cols] as a stored matrix.
func store(name string, v []float32, rows, cols int) (device.Mat, error) {
	m := device.Mat{DType: elem(cols), Rows: rows, Cols: cols}
	if err := checkFloats(name, v); err != nil {
		return m, err
	}
	m.Data = make([]byte, m.DType.RowBytes(rows*cols)) // rows are whole blocks
	tensor.Encode(m.Data, v, m.DType)
	return m, checkStored(name, m)
}

// checkFloats refuses infinity and NaN.
func checkFloats(name string, v []float32) error {
	for i, f := range v {
		if f-f != 0 {
			return fmt.Errorf("lowrank: tensor %s: element %d: got %v, want a finite number: train again", name, i, f)
		}
	}
	return nil
}

// checkStored refuses stored values that are infinite or NaN. In Q8_0 only a
// block's scale, with which it begins, can make them so. Whoever opens a model
// waits for this check, so it does not decode.
func checkStored(name string, m device.Mat) error {
	const exponent = 0x7c // of a float16's upper byte: all set in infinity and NaN
	step := 2
	if m.DType == tensor.Q8_0 {
		step = int(tensor.Q8_0.RowBytes(tensor.QuantBlock))
	}
	for at := 0; at+1 < len(m.Data); at += step {
		if m.Data[at+1]&exponent == exponent {
			return fmt.Errorf("lowrank: tensor %s: got an infinity or NaN at byte %d, want finite numbers: train again", name, at)
		}
	}
	return nil
}

// Empty reports whether a layer has no predictor.
func (l *Layer) Empty() bool { return l.A.Rows == 0 }

// Bytes is the size of a layer's factors.
func (l *Layer) Bytes() int64 {
	return int64(len(l.A.Data)) + int64(len(l.B.Data)) + tensor.F32.RowBytes(len(l.Bias))
}
