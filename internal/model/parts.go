package model

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kv"
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
	// Loaded waits until a layer, or Shared, is in memory as far as it is resident.
	Loaded func(ctx context.Context, layer int) error
	// Ready, if not nil, reports whether Loaded would not wait for a layer.
	Ready func(layer int) bool
}

// queue announces streamed matrices in the order of their products to come.
func (p *Parts) queue(ms ...*Matrix) {
	for _, w := range ms {
		if w.Data == nil {
			p.Stream.Queue(w.Tensor)
		}
	}
}

// product queues a matrix and multiplies.
func (p *Parts) product(ec *ExecutionContext, y, x device.Act, w *Matrix) error {
	p.queue(w)
	err := p.linear(ec, y, x, w)
	if err != nil {
		p.Stream.Reset()
	}
	return err
}

// linear sets y to x W^T + b. A matrix that streams must have been queued.
func (p *Parts) linear(ec *ExecutionContext, y, x device.Act, w *Matrix) error {
	if w.Data != nil {
		p.Backend.Linear(y, x, w.mat(w.Data, w.Tensor.Rows), w.Bias)
		return nil
	}
	for b := range w.Tensor.Blocks() {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		data, err := p.Stream.Block(w.Tensor, b)
		if err != nil {
			return err
		}
		row, n := w.Tensor.Block(b)
		bias := w.Bias
		if bias != nil {
			bias = bias[row : row+n]
		}
		p.Backend.Linear(y.Colspan(row, n), x, w.mat(data, n), bias)
	}
	return nil
}
