package source

import (
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Of a block of MXFP4.
const (
	mxElems  = 32
	mxCodes  = mxElems / 2 // bytes
	mxStored = 1 + mxCodes // as package tensor has it
)

// MXFP4 is one tensor of MXFP4 where a checkpoint holds it in two, as gpt-oss's does:
// blocks, [.., cols/32, 16] of U8, with element 2j in the low and 2j+1 in the high half
// of byte j, and scales, [.., cols/32], exponents plus 127. It is read as package
// tensor lays blocks out, which only moves codes.
func MXFP4(blocks, scales *Tensor) (*Tensor, error) {
	n := len(scales.Shape)
	if n == 0 || len(blocks.Shape) != n+1 || blocks.Shape[n] != mxCodes || !slices.Equal(blocks.Shape[:n], scales.Shape) {
		return nil, scales.wrap(fmt.Errorf("got scales of shape %v beside blocks of %v, want one for each block of %d", scales.Shape, blocks.Shape, mxCodes))
	}
	for _, t := range []*Tensor{blocks, scales} {
		if t.Stored != "U8" || t.strides != nil || t.r == nil {
			return nil, t.wrap(fmt.Errorf("got element type %.40q, want U8", t.Stored))
		}
	}
	t := *blocks
	t.DType, t.err = tensor.MXFP4, nil
	t.Shape = slices.Clone(scales.Shape)
	var ok bool
	if t.Shape[n-1], ok = mul(t.Shape[n-1], mxElems); !ok {
		return nil, t.wrap(fmt.Errorf("got blocks of shape %v, want fewer", blocks.Shape))
	}
	t.r, t.off = mxReader{blocks, scales}, 0
	t.sizeBytes = blocks.sizeBytes + scales.sizeBytes
	return &t, nil
}

// mxReader reads blocks of both tensors as package tensor has them.
type mxReader struct{ blocks, scales *Tensor }

// ReadAt reads what ends with the last block.
func (m mxReader) ReadAt(p []byte, off int64) (int, error) {
	first := off / mxStored
	count := (off+int64(len(p))+mxStored-1)/mxStored - first
	raw := make([]byte, count*mxStored)
	codes, scales := raw[:count*mxCodes], raw[count*mxCodes:]
	if err := ReadFull(m.blocks.r, codes, m.blocks.off+first*mxCodes); err != nil {
		return 0, err
	}
	if err := ReadFull(m.scales.r, scales, m.scales.off+first); err != nil {
		return 0, fmt.Errorf("tensor %.200q: %w", m.scales.Name, err)
	}
	var block [mxStored]byte
	n, skip := 0, int(off-first*mxStored)
	for i := range count {
		from := codes[i*mxCodes:][:mxCodes]
		block[0] = scales[i]
		for j := range mxCodes / 2 { // elements 4j to 4j+3, and 16 further on
			a, b := from[j], from[j+mxCodes/2]
			block[1+2*j] = a&15 | b<<4
			block[2+2*j] = a>>4 | b&0xf0
		}
		n += copy(p[n:], block[skip:])
		skip = 0
	}
	return n, nil
}
