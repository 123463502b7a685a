package model

import "github.com/sparseflow/sparseflow/internal/device"

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
