package source

import (
	"io"
	"slices"
)

// A view reads elements that do not lie in row-major order.
type view struct {
	r         io.ReaderAt
	off       int64 // of the first element
	elemBytes int64
}

// A dim is one dimension of a box of elements: how many, and how far apart, in
// elements, in the file and in memory.
type dim struct{ n, from, to int64 }

// dimsOf are the dimensions of a tensor; nil strides are those of row-major
// order.
func dimsOf(shape, strides []int64) []dim {
	dims := make([]dim, len(shape))
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		dims[i] = dim{shape[i], step, step}
		if strides != nil {
			dims[i].from = strides[i]
		}
		step *= shape[i]
	}
	return dims
}

// read reads count elements to dst: of those with dims, whose first lies at
// element at, from the first-th in row-major order on. It cuts them into boxes.
func (v view) read(dst []byte, dims []dim, at, first, count int64) error {
	if count == 0 {
		return nil
	}
	if len(dims) == 0 {
		return v.box(dst, nil, at, 0)
	}
	outer, inner := dims[0], dims[0].to // to is the number of elements of one of its n
	if skip := first % inner; skip > 0 || count < inner {
		n := min(count, inner-skip)
		if err := v.read(dst, dims[1:], at+first/inner*outer.from, skip, n); err != nil {
			return err
		}
		return v.read(dst[n*v.elemBytes:], dims, at, first+n, count-n)
	}
	whole := slices.Clone(dims)
	whole[0].n = count / inner
	if err := v.box(dst, whole, at+first/inner*outer.from, 0); err != nil {
		return err
	}
	done := whole[0].n * inner
	return v.read(dst[done*v.elemBytes:], dims, at, first+done, count-done)
}

// box reads a box whose first element lies at element at and goes to element to
// of dst. What lies close together is read at once, the rest piece by piece.
func (v view) box(dst []byte, dims []dim, at, to int64) error {
	const close = 64 << 10 // bytes that are read at once in any case
	span, count, widest := int64(1), int64(1), 0
	for i, d := range dims {
		span += (d.n - 1) * d.from
		count *= d.n
		if (d.n-1)*d.from > (dims[widest].n-1)*dims[widest].from {
			widest = i
		}
	}
	if span*v.elemBytes <= max(close, 4*count*v.elemBytes) {
		src := make([]byte, span*v.elemBytes)
		if err := ReadFull(v.r, src, v.off+at*v.elemBytes); err != nil {
			return err
		}
		v.spread(dst, src, dims, 0, to)
		return nil
	}
	rest := slices.Delete(slices.Clone(dims), widest, widest+1)
	for i := range dims[widest].n {
		if err := v.box(dst, rest, at+i*dims[widest].from, to+i*dims[widest].to); err != nil {
			return err
		}
	}
	return nil
}

// spread copies a box that is in memory.
func (v view) spread(dst, src []byte, dims []dim, from, to int64) {
	if len(dims) == 0 {
		copy(dst[to*v.elemBytes:][:v.elemBytes], src[from*v.elemBytes:])
		return
	}
	for range dims[0].n {
		v.spread(dst, src, dims[1:], from, to)
		from, to = from+dims[0].from, to+dims[0].to
	}
}

// contiguous reports whether strides, in elements, are those of a row-major
// tensor. The stride of a dimension of size 1 is free, as in PyTorch's
// is_contiguous, and so is every stride of an empty tensor.
func contiguous(shape, strides []int64) bool {
	if slices.Contains(shape, 0) {
		return true
	}
	for i, d := range dimsOf(shape, strides) {
		if shape[i] != 1 && d.from != d.to {
			return false
		}
	}
	return true
}
