// Package gguf reads the header of GGUF files: metadata, and where each tensor
// lies.
//
// A GGUF file, little endian, begins with the magic "GGUF", its version, the
// numbers of tensors and of metadata, the metadata (a name, a type and a value
// each), and for each tensor its name, dimensions, type and offset. The data
// section follows at the next multiple of the alignment, and offsets count from
// there. Version 2 differs from 3 in nothing that concerns little-endian files.
// The format's description is docs/gguf.md of the ggml project.
//
// # Guarantees
//
//   - Nothing is allocated by a size that the file only claims, and a header has
//     at most 128 MiB: the longest known have 30.
//   - Every tensor whose type is known lies inside the file, at a multiple of
//     the alignment, and shares no byte with another.
//   - Bad input gives one line that says what was found and what was wanted.
package gguf

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// A Header is what a file says before its tensors' data.
type Header struct {
	Version   uint32
	Metadata  map[string]any // numbers as Go's of the same size, arrays as slices of these
	Tensors   []Tensor       // in the file's order
	Alignment int64          // of tensors, a power of two
	Data      int64          // where the data section starts: what lies before is the header
}

// A Tensor is where a tensor lies.
type Tensor struct {
	Name   string
	Shape  []int64 // row-major, outermost first: the reverse of the file's order
	Type   Type
	Offset int64 // of the first byte, from the start of the file
	Bytes  int64 // 0 where the type is not known
}

const (
	maxHeader    = 128 << 20 // bytes
	maxMetadata  = 1 << 16   // keys
	maxNesting   = 4         // arrays in arrays
	maxName      = 1 << 16   // bytes of a key or of a tensor's name
	maxDims      = 8         // of a tensor; ggml itself has 4
	leastTensor  = 8 + 4 + 4 + 8
	defaultAlign = 32
)

// Architecture is what a file of size bytes calls its model, "" where it does not
// say: general.architecture, before which little is read as a rule.
func Architecture(r io.Reader, size int64) (string, error) {
	const key = "general.architecture"
	d := newDecoder(r, size)
	h := &Header{}
	_, keys, err := d.start(h)
	if err == nil {
		err = d.metadata(h, keys, key, nil)
	}
	name, _ := h.Metadata[key].(string)
	return name, err
}

func newDecoder(r io.Reader, size int64) *decoder {
	most := min(size, maxHeader)
	return &decoder{r: bufio.NewReaderSize(io.LimitReader(r, most), 1<<16), left: most}
}

// ReadHeader reads and checks the header of a file of size bytes.
func ReadHeader(r io.Reader, size int64) (*Header, error) {
	return ReadHeaderWithout(r, size, func(string) bool { return false })
}

// ReadHeaderWithout is ReadHeader that passes over the arrays of the keys that skip
// names: a vocabulary takes ten times as long to read as all the rest.
func ReadHeaderWithout(r io.Reader, size int64, skip func(key string) bool) (*Header, error) {
	d := newDecoder(r, size)
	most := d.left
	h, err := d.header(size, skip)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if most < size {
			return nil, fmt.Errorf("got a header of over %d bytes, want at most that", maxHeader)
		}
		err = fmt.Errorf("got the end of the file after %d bytes, within its header: is it cut off?", most-d.left)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (d *decoder) header(size int64, skip func(key string) bool) (*Header, error) {
	most := d.left
	h := &Header{}
	tensors, keys, err := d.start(h)
	if err != nil {
		return nil, err
	}
	if err := d.metadata(h, keys, "", skip); err != nil {
		return nil, err
	}
	if tensors > uint64(d.left/leastTensor) {
		return nil, fmt.Errorf("got a count of %d tensors with %d bytes left in the file", tensors, d.left)
	}
	if h.Alignment, err = alignment(h.Metadata); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for i := range tensors {
		t, err := d.tensor()
		if err != nil {
			return nil, fmt.Errorf("tensor %d %.80q: %w", i, t.Name, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("got two tensors called %.80q, want each once", t.Name)
		}
		seen[t.Name] = true
		h.Tensors = append(h.Tensors, t)
	}
	h.Data = (most - d.left + h.Alignment - 1) &^ (h.Alignment - 1)
	return h, h.place(size)
}

// start reads what a file begins with.
func (d *decoder) start(h *Header) (tensors, keys uint64, err error) {
	magic, err := d.bytes(4)
	if err != nil {
		return 0, 0, err
	}
	if string(magic) != "GGUF" {
		return 0, 0, fmt.Errorf("got %q at the start, want GGUF: it is no GGUF file", magic)
	}
	if h.Version, err = d.uint32(); err != nil {
		return 0, 0, err
	}
	switch {
	case h.Version&0xffff == 0 && h.Version != 0:
		return 0, 0, fmt.Errorf("got a big-endian GGUF file (version %d), want a little-endian one", bits.ReverseBytes32(h.Version))
	case h.Version != 2 && h.Version != 3:
		return 0, 0, fmt.Errorf("got version %d, want 2 or 3", h.Version)
	}
	if tensors, err = d.uint64(); err == nil {
		keys, err = d.uint64()
	}
	if err == nil && keys > maxMetadata {
		err = fmt.Errorf("got %d keys of metadata, want at most %d", keys, maxMetadata)
	}
	return tensors, keys, err
}

// metadata reads keys and values, up to the key last if there is that, but for
// arrays to skip.
func (d *decoder) metadata(h *Header, keys uint64, last string, skip func(key string) bool) error {
	h.Metadata = make(map[string]any, min(keys, 256))
	for i := range keys {
		name, err := d.text(maxName)
		if err != nil {
			return fmt.Errorf("metadata %d: %w", i, err)
		}
		if _, again := h.Metadata[name]; again {
			return fmt.Errorf("got metadata %.80q twice, want it once", name)
		}
		kind, err := d.uint32()
		switch {
		case err != nil:
		case kind == typeArray && skip != nil && skip(name):
			err = d.skipArray(1)
		default:
			h.Metadata[name], err = d.value(kind)
		}
		if err != nil {
			return fmt.Errorf("metadata %.80q: %w", name, err)
		}
		if name == last && last != "" {
			return nil
		}
	}
	return nil
}

// alignment is what the metadata say of it.
func alignment(metadata map[string]any) (int64, error) {
	const key = "general.alignment"
	v, ok := metadata[key]
	if !ok {
		return defaultAlign, nil
	}
	n, ok := v.(uint32)
	if !ok || bits.OnesCount32(n) != 1 {
		return 0, fmt.Errorf("metadata %q: got %v, want a power of two of 32 bits", key, v)
	}
	return int64(n), nil
}

// tensor reads what is said of a tensor. Its offset counts from the data section
// as yet.
func (d *decoder) tensor() (t Tensor, err error) {
	if t.Name, err = d.text(maxName); err != nil {
		return t, err
	}
	dims, err := d.uint32()
	if err != nil {
		return t, err
	}
	if dims > maxDims {
		return t, fmt.Errorf("got %d dimensions, want at most %d", dims, maxDims)
	}
	t.Shape = make([]int64, dims)
	for i := range t.Shape {
		n, err := d.uint64()
		if err != nil {
			return t, err
		}
		t.Shape[len(t.Shape)-1-i] = int64(n)
	}
	kind, err := d.uint32()
	if err != nil {
		return t, err
	}
	t.Type = Type(kind)
	offset, err := d.uint64()
	if err != nil {
		return t, err
	}
	t.Offset = int64(offset)
	t.Bytes, err = t.Type.bytes(t.Shape)
	return t, err
}

// place makes offsets count from the start of a file of size bytes, and holds
// the tensors to it and to each other.
func (h *Header) place(size int64) error {
	room := max(0, size-h.Data)
	order := make([]*Tensor, len(h.Tensors))
	for i := range h.Tensors {
		t := &h.Tensors[i]
		order[i] = t
		switch {
		case t.Offset < 0 || t.Offset > room || t.Bytes > room-t.Offset:
			return fmt.Errorf("tensor %.80q: got %d bytes at offset %d, want them inside the %d bytes after the header: is the file cut off?", t.Name, t.Bytes, uint64(t.Offset), room)
		case t.Offset%h.Alignment != 0:
			return fmt.Errorf("tensor %.80q: got offset %d, want a multiple of the alignment %d", t.Name, t.Offset, h.Alignment)
		}
		t.Offset += h.Data
	}
	slices.SortStableFunc(order, func(a, b *Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes))
	})
	for i := 1; i < len(order); i++ {
		before, t := order[i-1], order[i]
		if t.Offset-before.Offset < before.Bytes {
			return fmt.Errorf("tensor %.80q: got offset %d, want at least %d, where tensor %.80q ends: they overlap", t.Name, t.Offset, before.Offset+before.Bytes, before.Name)
		}
	}
	return nil
}
