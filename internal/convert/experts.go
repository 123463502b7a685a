package convert

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
)

// expert converts one expert of a layer, piece by piece.
func (j *job) expert(ctx context.Context, layer, e int, buf *buffers) error {
	w, err := j.w.Expert(layer, e)
	if err != nil {
		return err
	}
	for p, part := range j.w.ExpertParts(layer) {
		if err := j.expertPart(ctx, w, j.source.tensors.Experts[layer].Parts[p][e], part, buf); err != nil {
			return fmt.Errorf("%w (expert %d of layer %d)", err, e, layer)
		}
		j.advance("layer "+strconv.Itoa(layer), part.Bytes())
	}
	return w.Close()
}

// expertPart writes the rows of one part, which may not be neighbours.
func (j *job) expertPart(ctx context.Context, w io.Writer, from arch.Slice, to pack.ExpertPart, buf *buffers) error {
	stored := from.Tensor.DType
	row, outRow, step := int(stored.RowBytes(to.Cols)), int(to.DType.RowBytes(to.Cols)), int(from.Step)
	most := max(1, min(len(buf.strip)/(row*step), len(buf.block)/outRow)) // rows at a time
	for i := 0; i < to.Rows; i += most {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(most, to.Rows-i)
		in, out := sized(&buf.strip, ((n-1)*step+1)*row), sized(&buf.block, n*outRow)
		if _, err := from.Tensor.ReadAt(in, (from.First+int64(i*step))*int64(row)); err != nil {
			return err
		}
		for r := 1; r < n && step > 1; r++ {
			copy(in[r*row:(r+1)*row], in[r*step*row:])
		}
		if err := narrow(out, to.DType, in[:n*row], stored); err != nil {
			return j.badValue(from.Tensor, err)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// expertTensors are those that hold a part of a layer's experts, each once.
func expertTensors(part []arch.Slice) (all []*source.Tensor) {
	for i, s := range part {
		if i == 0 || s.Tensor != part[i-1].Tensor {
			all = append(all, s.Tensor)
		}
	}
	return all
}
