package convert

import (
	"context"
	"errors"
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
	raw := make([]byte, blockBytes)
	x, y := make([]float32, step), make([]float32, step)
	decode := func(v []float32, t *source.Tensor, at int) error {
		p := raw[:t.DType.RowBytes(len(v))]
		if _, err := t.ReadAt(p, t.DType.RowBytes(at)); err != nil {
			return err
		}
		tensor.Decode(v, p, t.DType)
		return nil
	}
	n := int(a.Bytes() / a.DType.RowBytes(1))
	for at := 0; at < n; at += step {
		k := min(step, n-at)
		if err := errors.Join(ctx.Err(), decode(x[:k], a, at), decode(y[:k], b, at)); err != nil {
			return false, err
		}
		if !slices.Equal(x[:k], y[:k]) {
			return true, nil
		}
	}
	return false, nil
}
