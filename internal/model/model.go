package model

import (
	"context"
	"fmt"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// Parts is what a Model is wired from.
type Parts struct {
	Profile     config.ModelProfile
	Weights     *Weights
	Backend     device.Backend
	KV          *kv.Cache
	Coordinator *transfer.TransferCoordinator
	Store       *disk.DiskWeightStore
	Stream      *disk.BlockReader // of the matrices that are not resident
	RowBuffer   []byte            // for rows of tables that are not resident
	// Loaded, if not nil, waits until a layer, or Shared, is in memory as far as
	// it is resident. Nil: everything is.
	Loaded func(ctx context.Context, layer int) error
}

// Model computes steps. One goroutine uses it at a time.
type Model struct {
	Parts
	layers []layer
}

type layer struct {
	attn SparseAttentionLayer
	mlp  SparseMLPLayer
}

// New makes a model.
func New(p Parts) *Model {
	m := &Model{Parts: p}
	for i := range p.Weights.Layers {
		w := &p.Weights.Layers[i]
		m.layers = append(m.layers, layer{SparseAttentionLayer{m, i, w}, SparseMLPLayer{m, i, w}})
	}
	return m
}

// Forward computes the tokens ids of ec.Spans through all layers; their keys
// and values are in the KV cache afterwards, for which the sequences must
// have room. Final and Logits then give the result.
//
// After an error the spans' keys and values are not to be used.
func (m *Model) Forward(ec *ExecutionContext, ids []int32) error {
	err := m.forward(ec, ids)
	if err != nil {
		m.Stream.Reset()
	}
	return err
}

func (m *Model) forward(ec *ExecutionContext, ids []int32) error {
	ec.begin(len(ids))
	if err := m.loaded(ec, Shared); err != nil {
		return err
	}
	if err := m.embed(ec, ids); err != nil {
		return err
	}
	for i := range m.layers {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		if err := m.loaded(ec, i); err != nil {
			return err
		}
		if err := m.layers[i].attn.Forward(ec); err != nil {
			return err
		}
		if err := m.layers[i].mlp.Forward(ec); err != nil {
			return err
		}
	}
	if n := m.Weights.FinalNorm; n != nil {
		m.Backend.Norm(ec.x, ec.x, *n)
	}
	ec.Stats.Tokens += int64(len(ids))
	return nil
}

// loaded waits for a layer, or Shared.
func (m *Model) loaded(ec *ExecutionContext, layer int) error {
	if m.Loaded == nil {
		return nil
	}
	begin := time.Now()
	defer func() { ec.Stats.Loading += time.Since(begin) }()
	return m.Loaded(ec.Ctx, layer)
}

// embed sets x to the tokens' embeddings plus their positions'.
func (m *Model) embed(ec *ExecutionContext, ids []int32) error {
	w := m.Weights
	for t, id := range ids {
		if err := m.row(ec.embed.Row(t), &w.EmbedTokens, int(id)); err != nil {
			return err
		}
	}
	if w.ProjectIn != nil {
		if err := m.product(ec, ec.x, ec.embed, w.ProjectIn); err != nil {
			return err
		}
	} else {
		for t := range ids {
			copy(ec.x.Row(t), ec.embed.Row(t))
		}
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

// row widens one row of a table.
func (m *Model) row(dst []float32, w *Matrix, row int) error {
	if row < 0 || row >= w.Tensor.Rows {
		return fmt.Errorf("model: %s: got row %d, want 0 to %d", w.Tensor.Name, row, w.Tensor.Rows-1)
	}
	n := w.Tensor.RowBytes
	if w.Data != nil {
		tensor.Decode(dst, w.Data[int64(row)*n:], w.DType)
		return nil
	}
	data, err := m.Store.ReadRow(w.Tensor, row, m.RowBuffer)
	if err != nil {
		return err
	}
	tensor.Decode(dst, data, w.DType)
	return nil
}

// Final is n rows of the last step's result from the first on, [n, d]: the
// residual stream after the final norm.
func (ec *ExecutionContext) Final(first, n int) device.Act { return ec.x.Rowspan(first, n) }

// Spare is n rows of memory, [n, d], which the next step overwrites.
func (ec *ExecutionContext) Spare(n int) device.Act { return ec.norm.Rowspan(0, n) }

// Logits computes the logits [n, vocab] of the rows x, [n, d], of Final or of
// an earlier step's. They take rows of the memory for LogitRows rows from row
// on, and are valid until these are taken again.
func (m *Model) Logits(ec *ExecutionContext, x device.Act, row int) (device.Act, error) {
	if p := m.Weights.ProjectOut; p != nil {
		y := ec.embed.Rowspan(0, x.Rows)
		if err := m.product(ec, y, x, p); err != nil {
			return device.Act{}, err
		}
		x = y
	}
	y := ec.logits.Rowspan(row, x.Rows)
	return y, m.product(ec, y, x, &m.Weights.Head)
}

// queue announces streamed matrices in the order of their products to come.
func (m *Model) queue(ms ...*Matrix) {
	for _, w := range ms {
		if w.Data == nil {
			m.Stream.Queue(w.Tensor)
		}
	}
}

// product queues a matrix and multiplies.
func (m *Model) product(ec *ExecutionContext, y, x device.Act, w *Matrix) error {
	m.queue(w)
	err := m.linear(ec, y, x, w)
	if err != nil {
		m.Stream.Reset()
	}
	return err
}

// linear sets y to x W^T + b. A matrix that streams must have been queued.
func (m *Model) linear(ec *ExecutionContext, y, x device.Act, w *Matrix) error {
	if w.Data != nil {
		m.Backend.Linear(y, x, w.mat(w.Data, w.Tensor.Rows), w.Bias)
		return nil
	}
	for b := range w.Tensor.Blocks() {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		data, err := m.Stream.Block(w.Tensor, b)
		if err != nil {
			return err
		}
		row, n := w.Tensor.Block(b)
		bias := w.Bias
		if bias != nil {
			bias = bias[row : row+n]
		}
		m.Backend.Linear(y.Colspan(row, n), x, w.mat(data, n), bias)
	}
	return nil
}
