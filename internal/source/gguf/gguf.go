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
	buf  [8]byte
}

func (d *decoder) header() (*Header, error) {
	var magic [4]byte
	if err := d.read(magic[:]); err != nil {
		return nil, err
	}
	if string(magic[:]) != "GGUF" {
		return nil, fmt.Errorf("got %q at the start, want GGUF: it is no GGUF file", magic[:])
	}
	version, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	if version != 2 && version != 3 {
		return nil, fmt.Errorf("got version %d, want 2 or 3, little endian", version)
	}
	h := &Header{Version: uint32(version)}
	if h.Tensors, err = d.uint(8); err != nil {
		return nil, err
	}
	keys, err := d.uint(8)
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
		kind, err := d.uint(4)
		if err == nil {
			h.Metadata[name], err = d.value(uint32(kind), 0)
		}
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", name, err)
		}
	}
	return h, nil
}

func (d *decoder) read(p []byte) error {
	n, err := io.ReadFull(d.r, p)
	d.left -= int64(n)
	return err
}

// uint reads a little-endian number of n bytes.
func (d *decoder) uint(n int) (uint64, error) {
	clear(d.buf[:])
	err := d.read(d.buf[:n])
	return binary.LittleEndian.Uint64(d.buf[:]), err
}

// length reads how many elements of at least size bytes follow.
func (d *decoder) length(size, limit int64) (int, error) {
	n, err := d.uint(8)
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
	err = d.read(text)
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

func (d *decoder) value(kind uint32, nesting int) (any, error) {
	switch kind {
	case typeUint8:
		return number(d, 1, func(v uint64) uint8 { return uint8(v) })
	case typeInt8:
		return number(d, 1, func(v uint64) int8 { return int8(v) })
	case typeUint16:
		return number(d, 2, func(v uint64) uint16 { return uint16(v) })
	case typeInt16:
		return number(d, 2, func(v uint64) int16 { return int16(v) })
	case typeUint32:
		return number(d, 4, toUint32)
	case typeInt32:
		return number(d, 4, toInt32)
	case typeFloat32:
		return number(d, 4, toFloat32)
	case typeBool:
		return number(d, 1, toBool)
	case typeString:
		return d.text(math.MaxInt64)
	case typeArray:
		return d.array(nesting + 1)
	case typeUint64:
		return number(d, 8, func(v uint64) uint64 { return v })
	case typeInt64:
		return number(d, 8, func(v uint64) int64 { return int64(v) })
	case typeFloat64:
		return number(d, 8, math.Float64frombits)
	}
	return nil, fmt.Errorf("got type %d, want one from 0 to %d", kind, typeFloat64)
}

func toUint32(v uint64) uint32   { return uint32(v) }
func toInt32(v uint64) int32     { return int32(v) }
func toFloat32(v uint64) float32 { return math.Float32frombits(uint32(v)) }
func toBool(v uint64) bool       { return v != 0 }

func number[T any](d *decoder, size int, convert func(uint64) T) (any, error) {
	v, err := d.uint(size)
	return convert(v), err
}

// array reads an array. Those of texts, 32-bit numbers and bools, which is all
// that is long in real files, are slices of their type, others are []any.
func (d *decoder) array(nesting int) (any, error) {
	if nesting > maxNesting {
		return nil, fmt.Errorf("got more than %d arrays in each other", maxNesting)
	}
	kind, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeString:
		return list(d, 8, func() (string, error) { return d.text(math.MaxInt64) })
	case typeUint32:
		return numbers(d, 4, toUint32)
	case typeInt32:
		return numbers(d, 4, toInt32)
	case typeFloat32:
		return numbers(d, 4, toFloat32)
	case typeBool:
		return numbers(d, 1, toBool)
	}
	return list(d, 1, func() (any, error) { return d.value(uint32(kind), nesting) })
}

func numbers[T any](d *decoder, size int, convert func(uint64) T) (any, error) {
	return list(d, int64(size), func() (T, error) {
		v, err := d.uint(size)
		return convert(v), err
	})
}

// list reads a length and as many elements of at least size bytes.
func list[T any](d *decoder, size int64, element func() (T, error)) (any, error) {
	n, err := d.length(size, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	var values []T
	for range n { // grown with what is really there
		v, err := element()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}
