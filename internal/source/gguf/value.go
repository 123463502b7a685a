package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unsafe"
)

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

// decoder is a place in a header.
type decoder struct {
	r    *bufio.Reader
	left int64 // bytes that the header may still have
}

// bytes takes n bytes, a few, which are valid until the next call.
func (d *decoder) bytes(n int) ([]byte, error) {
	b, err := d.r.Peek(n)
	if err != nil {
		d.left -= int64(len(b))
		return nil, err
	}
	d.left -= int64(n)
	_, err = d.r.Discard(n)
	return b, err
}

func (d *decoder) uint32() (uint32, error) {
	b, err := d.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (d *decoder) uint64() (uint64, error) {
	b, err := d.bytes(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// length reads how many elements of at least size bytes follow.
func (d *decoder) length(size, limit int64) (int, error) {
	n, err := d.uint64()
	if err != nil {
		return 0, err
	}
	if n > uint64(min(limit, d.left/size)) {
		return 0, fmt.Errorf("got a length of %d with %d bytes left", n, d.left)
	}
	return int(n), nil
}

func (d *decoder) text(limit int64) (string, error) {
	n, err := d.length(1, limit)
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	got, err := io.ReadFull(d.r, b)
	d.left -= int64(got)
	return string(b), err
}

// value reads a value.
func (d *decoder) value(kind uint32) (any, error) {
	switch kind {
	case typeUint8:
		return one(d, toUint8)
	case typeInt8:
		return one(d, toInt8)
	case typeUint16:
		return one(d, binary.LittleEndian.Uint16)
	case typeInt16:
		return one(d, toInt16)
	case typeUint32:
		return one(d, binary.LittleEndian.Uint32)
	case typeInt32:
		return one(d, toInt32)
	case typeFloat32:
		return one(d, toFloat32)
	case typeBool:
		return one(d, toBool)
	case typeString:
		return d.text(math.MaxInt64)
	case typeArray:
		return d.array(1)
	case typeUint64:
		return one(d, binary.LittleEndian.Uint64)
	case typeInt64:
		return one(d, toInt64)
	case typeFloat64:
		return one(d, toFloat64)
	}
	return nil, fmt.Errorf("got type %d, want one from 0 to %d", kind, typeFloat64)
}

// array reads an array, its elements' type first.
func (d *decoder) array(nesting int) (any, error) {
	if nesting > maxNesting {
		return nil, fmt.Errorf("got more than %d arrays in each other", maxNesting)
	}
	kind, err := d.uint32()
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeUint8:
		return many(d, toUint8)
	case typeInt8:
		return many(d, toInt8)
	case typeUint16:
		return many(d, binary.LittleEndian.Uint16)
	case typeInt16:
		return many(d, toInt16)
	case typeUint32:
		return many(d, binary.LittleEndian.Uint32)
	case typeInt32:
		return many(d, toInt32)
	case typeFloat32:
		return many(d, toFloat32)
	case typeBool:
		return many(d, toBool)
	case typeString:
		return d.texts()
	case typeArray:
		return d.arrays(nesting)
	case typeUint64:
		return many(d, binary.LittleEndian.Uint64)
	case typeInt64:
		return many(d, toInt64)
	case typeFloat64:
		return many(d, toFloat64)
	}
	return nil, fmt.Errorf("got an array of type %d, want one from 0 to %d", kind, typeFloat64)
}

// skipArray passes over an array.
func (d *decoder) skipArray(nesting int) error {
	if nesting > maxNesting {
		return fmt.Errorf("got more than %d arrays in each other", maxNesting)
	}
	kind, err := d.uint32()
	if err != nil {
		return err
	}
	size := int64(0)
	switch kind {
	case typeUint8, typeInt8, typeBool:
		size = 1
	case typeUint16, typeInt16:
		size = 2
	case typeUint32, typeInt32, typeFloat32:
		size = 4
	case typeUint64, typeInt64, typeFloat64, typeString:
		size = 8 // of a string's length
	case typeArray:
		size = 12 // of an empty one
	default:
		return fmt.Errorf("got an array of type %d, want one from 0 to %d", kind, typeFloat64)
	}
	n, err := d.length(size, math.MaxInt64)
	if err != nil {
		return err
	}
	if kind != typeString && kind != typeArray {
		return d.discard(n * int(size))
	}
	for range n {
		if kind == typeArray {
			err = d.skipArray(nesting + 1)
		} else if n, err = d.length(1, math.MaxInt64); err == nil {
			err = d.discard(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// discard passes over n bytes.
func (d *decoder) discard(n int) error {
	got, err := d.r.Discard(n)
	d.left -= int64(got)
	return err
}

func (d *decoder) arrays(nesting int) ([]any, error) {
	n, err := d.length(12, math.MaxInt64) // of an empty one
	if err != nil {
		return nil, err
	}
	var all []any
	for range n {
		a, err := d.array(nesting + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// texts reads an array of strings. A vocabulary has hundreds of thousands: they
// share their memory.
func (d *decoder) texts() ([]string, error) {
	n, err := d.length(8, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	var all []byte
	var ends []int
	for range n {
		length, err := d.length(1, math.MaxInt64)
		if err != nil {
			return nil, err
		}
		for length > 0 { // grown with what is really there
			b, err := d.bytes(min(length, 1<<12))
			if err != nil {
				return nil, err
			}
			all = append(all, b...)
			length -= len(b)
		}
		ends = append(ends, len(all))
	}
	shared, from := string(all), 0
	texts := make([]string, n)
	for i, end := range ends {
		texts[i], from = shared[from:end], end
	}
	return texts, nil
}

// one reads a number.
func one[T any](d *decoder, number func([]byte) T) (any, error) {
	b, err := d.bytes(int(unsafe.Sizeof(*new(T))))
	if err != nil {
		return nil, err
	}
	return number(b), nil
}

// many reads an array of numbers.
func many[T any](d *decoder, number func([]byte) T) (any, error) {
	size := int(unsafe.Sizeof(*new(T)))
	n, err := d.length(int64(size), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	var all []T
	for len(all) < n { // grown with what is really there
		b, err := d.bytes(size * min(n-len(all), 1<<12/size))
		if err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[size:] {
			all = append(all, number(b))
		}
	}
	return all, nil
}

func toUint8(b []byte) uint8     { return b[0] }
func toInt8(b []byte) int8       { return int8(b[0]) }
func toBool(b []byte) bool       { return b[0] != 0 }
func toInt16(b []byte) int16     { return int16(binary.LittleEndian.Uint16(b)) }
func toInt32(b []byte) int32     { return int32(binary.LittleEndian.Uint32(b)) }
func toInt64(b []byte) int64     { return int64(binary.LittleEndian.Uint64(b)) }
func toFloat32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
func toFloat64(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
