package source

import (
	"fmt"
	"io"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A Tensor is one named tensor of an open [Checkpoint]. Its bytes stay in the
// file, which the Checkpoint owns; they can be read until Close.
type Tensor struct {
	Name   string       // as stored
	DType  tensor.DType // meaningful only if Err is nil
	Stored string       // element type as safetensors names it: F16, I64, ...
	Shape  []int64      // row-major, outermost first; empty for a scalar; do not modify

	file      string      // path shown in errors
	r         io.ReaderAt // the whole weight file
	off       int64       // of the first byte in r
	sizeBytes int64
	err       error // why the tensor cannot be used, or nil
}

// newTensor fills in what follows from the stored element type.
func newTensor(name, stored string, shape []int64) *Tensor {
	t := &Tensor{Name: name, Stored: stored, Shape: shape}
	for _, d := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16} {
		if stored == d.String() {
			t.DType = d
			return t
		}
	}
	t.err = fmt.Errorf("got element type %.40q, want F32, F16 or BF16", stored)
	return t
}

// Err says why the tensor's values cannot be used: an element type that package
// tensor lacks, or a .bin view that is not contiguous. It is nil otherwise.
func (t *Tensor) Err() error {
	if t.err == nil {
		return nil
	}
	return t.wrap(t.err)
}

// Bytes is the size of the contiguous tensor.
func (t *Tensor) Bytes() int64 { return t.sizeBytes }

// ReadAt reads the raw little-endian bytes of the row-major tensor from byte
// off on, as [io.ReaderAt] demands: fewer than len(p) bytes come with an error,
// which is [io.EOF] at the tensor's end.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	if t.err != nil {
		return 0, t.wrap(t.err)
	}
	if off < 0 {
		return 0, t.wrap(fmt.Errorf("got offset %d, want at least 0", off))
	}
	if off >= t.sizeBytes {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > t.sizeBytes-off
	if short {
		p = p[:t.sizeBytes-off]
	}
	n, err := t.r.ReadAt(p, t.off+off)
	if n == len(p) {
		err = nil // a reader may say io.EOF with the file's last byte
		if short {
			err = io.EOF
		}
		return n, err
	}
	if err == nil || err == io.EOF {
		err = fmt.Errorf("got %d bytes at offset %d, want %d: the file shrank while open: %w",
			n, t.off+off, len(p), io.ErrUnexpectedEOF)
	}
	return n, t.wrap(err)
}

func (t *Tensor) wrap(err error) error {
	return fmt.Errorf("checkpoint: read %s: tensor %.200q: %w", t.file, t.Name, err)
}

// contiguous reports whether strides, in elements, are those of a row-major
// tensor. The stride of a dimension of size 1 is free, as in PyTorch's
// is_contiguous, and so is every stride of an empty tensor.
func contiguous(shape, strides []int64) bool {
	if slices.Contains(shape, 0) {
		return true
	}
	want := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}
