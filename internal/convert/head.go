package convert

import (
	"context"
	"slices"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// differ reports whether two tensors have different values, as far as they can
// be read.
func differ(ctx context.Context, a, b *source.Tensor) (bool, error) {
	if a.Err() != nil || !slices.Equal(a.Shape, b.Shape) {
		return true, nil
	}
	if a.Same(b) {
		return false, nil
	}
	const step = blockBytes / 4 // elements
	x, y := make([]byte, blockBytes), make([]byte, blockBytes)
	xs, ys := make([]float32, step), make([]float32, step)
	n := int(a.Bytes() / a.DType.RowBytes(1))
	for at := 0; at < n; at += step {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		k := min(step, n-at)
		for _, t := range []struct {
			from  *source.Tensor
			bytes []byte
			v     []float32
		}{{a, x, xs}, {b, y, ys}} {
			p := t.bytes[:t.from.DType.RowBytes(k)]
			if _, err := t.from.ReadAt(p, t.from.DType.RowBytes(at)); err != nil {
				return false, err
			}
			tensor.Decode(t.v[:k], p, t.from.DType)
		}
		if !slices.Equal(xs[:k], ys[:k]) {
			return true, nil
		}
	}
	return false, nil
}
