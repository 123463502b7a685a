// Package gguf reads GGUF files, of which it knows the header and the metadata
// so far.
//
// A GGUF file, little endian, begins with the magic "GGUF", its version, the
// numbers of tensors and of metadata, and the metadata: a name, a type and a
// value each. The format's description is docs/gguf.md of the ggml project.
package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Header is what a file says before its tensors.
type Header struct {
	Version  uint32
	Tensors  uint64         // how many follow
	Metadata map[string]any // numbers as Go's of the same size, arrays as slices of these
}

const (
	maxMetadata = 1 << 16 // keys
	maxNesting  = 4       // arrays in arrays
	maxName     = 1 << 16 // bytes of a key
)

// ReadHeader reads a file's header, of which there are size bytes at most.
// Nothing is allocated that the file has no bytes for.
func ReadHeader(r io.Reader, size int64) (*Header, error) {
	d := &decoder{r: bufio.NewReaderSize(io.LimitReader(r, size), 1<<16), left: size}
	h, err := d.header()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("got the end of the file after %d bytes, within its header: is it cut off?", size-d.left)
	}
	return h, err
}

// decoder is a place in a header.
type decoder struct {
	r    *bufio.Reader
	left int64 // bytes of the file
}

func (d *decoder) header() (*Header, error) {
	magic, err := number[[4]byte](d)
	if err != nil {
		return nil, err
	}
	if string(magic[:]) != "GGUF" {
		return nil, fmt.Errorf("got %q at the start, want GGUF: it is no GGUF file", magic[:])
	}
	version, err := number[uint32](d)
	if err != nil {
		return nil, err
	}
	if version != 2 && version != 3 {
		return nil, fmt.Errorf("got version %d, want 2 or 3, little endian", version)
	}
	h := &Header{Version: version}
	if h.Tensors, err = number[uint64](d); err != nil {
		return nil, err
	}
	keys, err := number[uint64](d)
	if err != nil {
		return nil, err
	}
	if keys > maxMetadata {
		return nil, fmt.Errorf("got %d keys of metadata, want at most %d", keys, maxMetadata)
	}
	h.Metadata = make(map[string]any, min(keys, 256))
	for i := range keys {
		name, err := d.text(maxName)
		if err != nil {
			return nil, fmt.Errorf("metadata %d: %w", i, err)
		}
		kind, err := number[uint32](d)
		if err == nil {
			h.Metadata[name], err = d.value(kind, false, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", name, err)
		}
	}
	return h, nil
}

// Read counts what is left.
func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.left -= int64(n)
	return n, err
}

// number reads a little-endian number.
func number[T any](d *decoder) (v T, err error) {
	err = binary.Read(d, binary.LittleEndian, &v)
	return v, err
}

// length reads how many elements of at least size bytes follow.
func (d *decoder) length(size, limit int64) (int, error) {
	n, err := number[uint64](d)
	if err != nil {
		return 0, err
	}
	if n > uint64(min(limit, d.left/size)) {
		return 0, fmt.Errorf("got a length of %d with %d bytes left in the file", n, d.left)
	}
	return int(n), nil
}

func (d *decoder) text(limit int64) (string, error) {
	n, err := d.length(1, limit)
	if err != nil {
		return "", err
	}
	text := make([]byte, n)
	_, err = io.ReadFull(d, text)
	return string(text), err
}

// The types of metadata.
const (
	typeUint8 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// value reads a value or, as array says, an array of them.
func (d *decoder) value(kind uint32, array bool, nesting int) (any, error) {
	switch kind {
	case typeUint8:
		return some(d, array, 1, number[uint8])
	case typeInt8:
		return some(d, array, 1, number[int8])
	case typeUint16:
		return some(d, array, 2, number[uint16])
	case typeInt16:
		return some(d, array, 2, number[int16])
	case typeUint32:
		return some(d, array, 4, number[uint32])
	case typeInt32:
		return some(d, array, 4, number[int32])
	case typeFloat32:
		return some(d, array, 4, number[float32])
	case typeBool:
		return some(d, array, 1, number[bool])
	case typeString:
		return some(d, array, 8, func(d *decoder) (string, error) { return d.text(math.MaxInt64) })
	case typeArray:
		return some(d, array, 12, func(d *decoder) (any, error) { return d.array(nesting + 1) })
	case typeUint64:
		return some(d, array, 8, number[uint64])
	case typeInt64:
		return some(d, array, 8, number[int64])
	case typeFloat64:
		return some(d, array, 8, number[float64])
	}
	return nil, fmt.Errorf("got type %d, want one from 0 to %d", kind, typeFloat64)
}

func (d *decoder) array(nesting int) (any, error) {
	if nesting > maxNesting {
		return nil, fmt.Errorf("got more than %d arrays in each other", maxNesting)
	}
	kind, err := number[uint32](d)
	if err != nil {
		return nil, err
	}
	return d.value(kind, true, nesting)
}

// some reads one element or, of an array, a length and as many elements, each
// of at least size bytes.
func some[T any](d *decoder, array bool, size int64, element func(*decoder) (T, error)) (any, error) {
	if !array {
		return element(d)
	}
	n, err := d.length(size, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	var values []T
	for range n { // grown with what is really there
		v, err := element(d)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}
