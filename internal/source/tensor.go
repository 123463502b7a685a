package source

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
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
	in        string      // the checkpoint's name for the file
	r         io.ReaderAt // the whole weight file
	off       int64       // of the first element in r
	strides   []int64     // in elements; nil if the tensor lies row-major in one piece
	sizeBytes int64       // as it is read
	err       error       // why the tensor cannot be used, or nil
}

// newTensor fills in what follows from the stored element type.
func newTensor(name, stored string, shape []int64) *Tensor {
	t := &Tensor{Name: name, Stored: stored, Shape: shape}
	switch stored {
	case tensor.F32.String(), "F64": // read as F32
		t.DType = tensor.F32
	case tensor.F16.String():
		t.DType = tensor.F16
	case tensor.BF16.String():
		t.DType = tensor.BF16
	default:
		t.err = fmt.Errorf("got element type %.40q, want F32, F16, BF16 or F64", stored)
	}
	return t
}

// readBytes is the size of an element as it is read.
func (t *Tensor) readBytes() int64 {
	if t.Stored == "F64" {
		return tensor.F32.RowBytes(1)
	}
	return max(1, dtypeBits(t.Stored)/8)
}

// Err says why the tensor's values cannot be used, such as an element type that
// package tensor lacks. It is nil otherwise.
func (t *Tensor) Err() error {
	if t.err == nil {
		return nil
	}
	return t.wrap(t.err)
}

// Place is where the tensor lies, row after row of elements of DType from an
// offset of one of the checkpoint's files on; ok is false if it lies otherwise,
// so that it must be read through ReadAt.
func (t *Tensor) Place() (file string, offset int64, ok bool) {
	ok = t.err == nil && t.r != nil && t.strides == nil && t.Stored == t.DType.String()
	return t.in, t.off, ok
}

// Rows are n of the first dimension, from first on. They lie in one piece where the
// tensor does.
func (t *Tensor) Rows(first, n int64) *Tensor {
	x := *t
	if x.err == nil && (len(x.Shape) == 0 || n < 1 || first < 0 || first > x.Shape[0]-n) {
		x.err = fmt.Errorf("got shape %v, want rows %d to %d", t.Shape, first, first+n-1)
	}
	if x.err != nil {
		return &x
	}
	row := x.sizeBytes / x.Shape[0]
	x.Shape = slices.Clone(t.Shape)
	x.Shape[0], x.sizeBytes = n, n*row
	switch {
	case x.strides != nil:
		row = x.strides[0] * dtypeBits(x.Stored) / 8
	case x.Stored == "F64": // of which half is read
		row *= 2
	}
	x.off += first * row
	return &x
}

// Transposed is the tensor with its last two dimensions exchanged.
func (t *Tensor) Transposed() *Tensor {
	x := t.strided()
	if n := len(x.Shape); x.err == nil && n < 2 {
		x.err = fmt.Errorf("got shape %v, want rows and columns to exchange", t.Shape)
	} else if x.err == nil {
		for _, s := range [][]int64{x.Shape, x.strides} {
			s[n-2], s[n-1] = s[n-1], s[n-2]
		}
	}
	return x
}

// Columns are n elements of the last dimension: first, first+step and so on.
func (t *Tensor) Columns(first, step, n int64) *Tensor {
	x := t.strided()
	last := len(x.Shape) - 1
	if x.err == nil && (last < 0 || n < 1 || first < 0 || step < 1 || first+(n-1)*step >= x.Shape[last]) {
		x.err = fmt.Errorf("got shape %v, want columns %d to %d", t.Shape, first, first+(n-1)*step)
	} else if x.err == nil {
		x.sizeBytes = x.sizeBytes / x.Shape[last] * n
		x.off += first * x.strides[last] * dtypeBits(x.Stored) / 8
		x.Shape[last] = n
		x.strides[last] *= step
	}
	return x
}

// strided is a copy with strides. Elements in blocks have none, and cannot be read so.
func (t *Tensor) strided() *Tensor {
	x := *t
	if x.err == nil && (x.DType.Quantised() || x.DType.RowBytes(1) != x.readBytes()) {
		x.err = fmt.Errorf("got %s that is read as %v, want single elements, which can be taken apart", x.Stored, x.DType)
	}
	if x.err != nil {
		return &x
	}
	x.Shape, x.strides = slices.Clone(t.Shape), make([]int64, len(t.Shape))
	for i, d := range dimsOf(t.Shape, t.strides) {
		x.strides[i] = d.from
	}
	return &x
}

// Bytes is the size of the tensor as it is read.
func (t *Tensor) Bytes() int64 { return t.sizeBytes }

// ReadAt reads the little-endian bytes of the row-major tensor, F64 rounded to
// F32, from byte off on, as [io.ReaderAt] demands: fewer than len(p) bytes come
// with an error, which is [io.EOF] at the tensor's end.
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
	n, err := t.read(p, off)
	if n == len(p) {
		err = nil // a reader may say io.EOF with the file's last byte
		if short {
			err = io.EOF
		}
		return n, err
	}
	if err == nil || err == io.EOF {
		err = fmt.Errorf("got %d bytes at offset %d of the tensor, want %d: the file shrank while open: %w",
			n, off, len(p), io.ErrUnexpectedEOF)
	}
	return n, t.wrap(err)
}

func (t *Tensor) wrap(err error) error {
	return fmt.Errorf("source: read %s: tensor %.200q: %w", t.file, t.Name, err)
}

// Same reports whether t and u are the same bytes of a file, as tied tensors are.
func (t *Tensor) Same(u *Tensor) bool {
	return t.r == u.r && t.off == u.off && t.sizeBytes == u.sizeBytes && slices.Equal(t.strides, u.strides)
}

// read reads p, which lies inside the tensor.
func (t *Tensor) read(p []byte, off int64) (int, error) {
	if t.strides == nil && t.Stored != "F64" {
		return t.r.ReadAt(p, t.off+off)
	}
	elem, out := dtypeBits(t.Stored)/8, t.readBytes()
	first := off / out
	count := (off+int64(len(p))+out-1)/out - first
	raw := make([]byte, count*elem)
	v := view{t.r, t.off, elem}
	if err := v.read(raw, dimsOf(t.Shape, t.strides), 0, first, count); err != nil {
		return 0, err
	}
	if t.Stored == "F64" {
		for i := range count {
			x := float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
		}
	}
	return copy(p, raw[off-first*out:count*out]), nil
}
