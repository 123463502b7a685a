package model

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// embed sets x to the tokens' embeddings plus their positions'.
func (m *Model) embed(ec *ExecutionContext, ids []int32) error {
	w, to := m.Weights, ec.x
	if w.ProjectIn != nil {
		to = ec.embed
	}
	for t, id := range ids {
		if err := m.row(to.Row(t), &w.EmbedTokens, int(id)); err != nil {
			return err
		}
	}
	if w.ProjectIn != nil {
		if err := m.product(ec, ec.x, ec.embed, w.ProjectIn); err != nil {
			return err
		}
	}
	scale(ec.x, m.Profile.EmbedScale)
	m.angles(ec)
	if !m.Profile.LearnedPositions {
		return nil
	}
	t := 0
	position := ec.out.Row(0)
	for _, s := range ec.Spans {
		for i := range s.N {
			if err := m.row(position, &w.EmbedPositions, s.Pos+i+m.Profile.PositionOffset); err != nil {
				return err
			}
			for j, v := range position {
				ec.x.Row(t)[j] += v
			}
			t++
		}
	}
	return nil
}

// angles sets the cosines and sines of the tokens' angles. Angles are float32, as
// in the reference implementation and as models were trained with.
func (m *Model) angles(ec *ExecutionContext) {
	for i, k := range m.Profile.Kinds {
		magnitude := 1.0
		if k.RoPE.Magnitude > 0 {
			magnitude = k.RoPE.Magnitude
		}
		f, t := m.Weights.Frequencies[i], 0
		for _, s := range ec.Spans {
			for pos := s.Pos; pos < s.Pos+s.N; pos++ {
				row := ec.angles[i].Row(t)
				for j, v := range f {
					sin, cos := math.Sincos(float64(float32(pos) * v))
					row[j], row[len(f)+j] = float32(cos*magnitude), float32(sin*magnitude)
				}
				t++
			}
		}
	}
}

// row widens one row of a table.
func (m *Model) row(dst []float32, w *Matrix, row int) error {
	if row < 0 || row >= w.Tensor.Rows {
		return fmt.Errorf("model: %s: got row %d, want 0 to %d", w.Tensor.Name, row, w.Tensor.Rows-1)
	}
	if w.Data != nil {
		tensor.Decode(dst, w.Data[int64(row)*w.Tensor.RowBytes:], w.DType)
		return nil
	}
	data, err := m.Store.ReadRow(w.Tensor, row, m.RowBuffer)
	if err == nil {
		tensor.Decode(dst, data, w.DType)
	}
	return err
}
