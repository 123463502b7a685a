package source

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// FP8Block is how many rows, and how many columns, share a scale.
const FP8Block = 128

// FP8 is weights of F8_E4M3, [.., rows, cols], times the scales of their blocks of 128
// by 128, [.., rows/128, cols/128] rounded up, as DeepSeek-V3 and what followed it are
// stored (arXiv:2412.19437, 3.3.2). It is read as BF16, which their makers compute with.
func FP8(weights, scales *Tensor) (*Tensor, error) {
	blocks := func(n int64) int64 { return (n + FP8Block - 1) / FP8Block }
	want := slices.Clone(weights.Shape)
	n := len(want)
	if n < 2 || weights.Stored != "F8_E4M3" || weights.r == nil || weights.strides != nil {
		return nil, weights.wrap(fmt.Errorf("got %s of shape %v, want rows and columns of F8_E4M3", weights.Stored, weights.Shape))
	}
	want[n-2], want[n-1] = blocks(want[n-2]), blocks(want[n-1])
	if err := scales.Err(); err != nil {
		return nil, err
	}
	if !slices.Equal(scales.Shape, want) || scales.DType.Quantised() {
		return nil, scales.wrap(fmt.Errorf("got scales of shape %v beside weights of %v, want %v: one for each block of %d by %d",
			scales.Shape, weights.Shape, want, FP8Block, FP8Block))
	}
	t := *weights
	t.DType, t.err = tensor.BF16, nil
	var ok bool
	if t.sizeBytes, ok = mul(weights.sizeBytes, 2); !ok {
		return nil, weights.wrap(fmt.Errorf("got shape %v, want fewer elements", weights.Shape))
	}
	t.r, t.off = fp8Reader{weights, scales, weights.Shape[n-2], weights.Shape[n-1], want[n-2], want[n-1]}, 0
	return &t, nil
}

// fp8Reader reads the products as BF16.
type fp8Reader struct {
	weights, scales      *Tensor
	rows, cols           int64 // of a matrix
	blockRows, blockCols int64
}

func (f fp8Reader) ReadAt(p []byte, off int64) (int, error) {
	first := off / 2
	raw := make([]byte, (off+int64(len(p))+1)/2-first)
	if len(raw) == 0 {
		return 0, nil
	}
	if err := ReadFull(f.weights.r, raw, f.weights.off+first); err != nil {
		return 0, err
	}
	// Scales of all rows that are touched.
	from, to := f.scaleRow(first/f.cols), f.scaleRow((first+int64(len(raw))-1)/f.cols)+1
	scales := make([]float32, (to-from)*f.blockCols)
	stored := make([]byte, f.scales.DType.RowBytes(len(scales)))
	if err := ReadFull(f.scales, stored, f.scales.DType.RowBytes(int(from*f.blockCols))); err != nil {
		return 0, err
	}
	tensor.Decode(scales, stored, f.scales.DType)
	products := make([]float32, len(raw))
	for i, code := range raw {
		row, col := (first+int64(i))/f.cols, (first+int64(i))%f.cols
		products[i] = e4m3Values[code] * scales[(f.scaleRow(row)-from)*f.blockCols+col/FP8Block]
	}
	rounded := make([]byte, 2*len(raw))
	tensor.Encode(rounded, products, tensor.BF16)
	return copy(p, rounded[off-2*first:]), nil
}

// scaleRow is the row of scales of a row of all matrices.
func (f fp8Reader) scaleRow(row int64) int64 {
	return row/f.rows*f.blockRows + row%f.rows/FP8Block
}

// e4m3Values are all floats of 8 bits: to work one out takes longer than to read it.
var e4m3Values = func() (all [256]float32) {
	for i := range all {
		all[i] = e4m3(byte(i))
	}
	return all
}()

// e4m3 is the float of 4 bits of exponent and 3 of mantissa that has no infinities
// (Micikevicius et al., arXiv:2209.05433).
func e4m3(code byte) float32 {
	exponent, mantissa := int(code>>3&15), float64(code&7)
	x := math.Ldexp(1+mantissa/8, exponent-7)
	switch {
	case code&0x7f == 0x7f:
		x = math.NaN()
	case exponent == 0:
		x = math.Ldexp(mantissa/8, -6)
	}
	if code >= 0x80 {
		x = -x
	}
	return float32(x)
}
