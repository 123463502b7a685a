package source

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// maxHeaderBytes is the reference implementation's limit
	// (MAX_HEADER_SIZE), against headers made to exhaust memory.
	maxHeaderBytes = 100_000_000

	// metadataKey is the one header key that is no tensor.
	metadataKey = "__metadata__"
)

// A SafetensorsHeader is the checked header of one safetensors file.
type SafetensorsHeader struct {
	Metadata    map[string]string  // nil if the header has none
	Entries     []SafetensorsEntry // by ascending Offset: they tile [HeaderBytes, file size)
	HeaderBytes int64              // length field, JSON and padding: where tensor bytes start
}

// A SafetensorsEntry is one tensor of a safetensors file.
type SafetensorsEntry struct {
	Name   string
	DType  string // as stored: F16, U8, ...
	Shape  []int64
	Offset int64 // of the first byte, from the start of the file
	Bytes  int64
}

// ParseSafetensors reads and checks the header of a safetensors file of size
// bytes; name is the path shown in errors. It holds the file to what the
// safetensors library does: metadata are strings or null, shape and element type
// agree with the size, and the tensors cover every byte after the header exactly
// once. Of equal keys the last counts, and unknown keys of a tensor are skipped.
// An element type it does not know is kept, with its size unchecked, for the
// caller to judge.
func ParseSafetensors(r io.ReaderAt, size int64, name string) (*SafetensorsHeader, error) {
	h, err := parseSafetensors(r, size)
	if err != nil {
		return nil, fmt.Errorf("source: read %s: %w", name, err)
	}
	return h, nil
}

func parseSafetensors(r io.ReaderAt, size int64) (*SafetensorsHeader, error) {
	const least = 8 + int64(len("{}"))
	if size < least {
		return nil, fmt.Errorf("got a file of %d bytes, want a safetensors file of at least %d", size, least)
	}
	var start [8]byte
	if err := ReadFull(r, start[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(start[:])
	if n > maxHeaderBytes {
		return nil, fmt.Errorf("got a safetensors header of %d bytes, want at most %d", n, maxHeaderBytes)
	}
	h := &SafetensorsHeader{HeaderBytes: 8 + int64(n)}
	if h.HeaderBytes > size {
		return nil, fmt.Errorf("got a file of %d bytes, want at least %d for its header: is the file cut short?",
			size, h.HeaderBytes)
	}
	if err := h.parseJSON(io.NewSectionReader(r, 8, int64(n)), size-h.HeaderBytes); err != nil {
		return nil, err
	}
	return h, h.checkTiling(size)
}

// parseJSON reads the header of a file with dataBytes after it. It streams: a
// header is judged before all of it is in memory.
func (h *SafetensorsHeader) parseJSON(r io.Reader, dataBytes int64) error {
	at := make(map[string]int)
	return members(r, "header", func(key string, raw json.RawMessage) error {
		if key == metadataKey {
			return h.parseMetadata(raw)
		}
		e, err := h.parseEntry(key, raw, dataBytes)
		if err != nil {
			return fmt.Errorf("tensor %.200q: %w", key, err)
		}
		if i, again := at[key]; again {
			h.Entries[i] = e
			return nil
		}
		at[key] = len(h.Entries)
		h.Entries = append(h.Entries, e)
		return nil
	})
}

func (h *SafetensorsHeader) parseMetadata(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil // as some writers have it
	}
	h.Metadata = make(map[string]string)
	return members(bytes.NewReader(raw), metadataKey, func(k string, raw json.RawMessage) (err error) {
		h.Metadata[k], err = parseString(fmt.Sprintf("the value of %s %.80q", metadataKey, k), raw)
		return err
	})
}

func (h *SafetensorsHeader) parseEntry(name string, raw json.RawMessage, dataBytes int64) (SafetensorsEntry, error) {
	e := SafetensorsEntry{Name: name}
	var offsets []int64
	typed := false
	err := members(bytes.NewReader(raw), "entry", func(key string, raw json.RawMessage) (err error) {
		switch key {
		case "dtype":
			e.DType, err = parseString("dtype", raw)
			typed = true
		case "shape":
			e.Shape, err = parseIntegers("shape", raw)
		case "data_offsets":
			offsets, err = parseIntegers("data_offsets", raw)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if !typed || e.Shape == nil || offsets == nil {
		return e, errors.New("got not all of the keys dtype, shape and data_offsets, want each")
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return e, fmt.Errorf("got data_offsets %s, want [begin, end] with begin <= end", showInts(offsets))
	}
	if offsets[1] > dataBytes {
		return e, fmt.Errorf("got data_offsets %s, want them inside the %d bytes after the header: is the file cut short?",
			showInts(offsets), dataBytes)
	}
	e.Offset, e.Bytes = h.HeaderBytes+offsets[0], offsets[1]-offsets[0]
	return e, e.checkSize()
}

// checkSize holds the byte count to shape and element type.
func (e *SafetensorsEntry) checkSize() error {
	elemBits := dtypeBits(e.DType)
	if elemBits == 0 {
		if _, ok := elements(e.Shape); !ok {
			return fmt.Errorf("got shape %s, want a product below 2^63", showInts(e.Shape))
		}
		return nil
	}
	want, ok := shapeBytes(e.Shape, elemBits)
	if !ok {
		return fmt.Errorf("got shape %s of %s, want a whole number of bytes below 2^63", showInts(e.Shape), e.DType)
	}
	if e.Bytes != want {
		return fmt.Errorf("got %d bytes, want %d for shape %s of %s", e.Bytes, want, showInts(e.Shape), e.DType)
	}
	return nil
}

// checkTiling sorts the entries by offset and demands that they cover the file
// after the header exactly once.
func (h *SafetensorsHeader) checkTiling(size int64) error {
	slices.SortStableFunc(h.Entries, func(a, b SafetensorsEntry) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes))
	})
	pos := h.HeaderBytes
	for i, e := range h.Entries {
		if e.Offset < pos {
			return fmt.Errorf("tensor %.200q: got offset %d, want %d, where tensor %.200q ends: they overlap",
				e.Name, e.Offset, pos, h.Entries[i-1].Name)
		}
		if e.Offset > pos {
			return fmt.Errorf("tensor %.200q: got offset %d, want %d: the bytes between belong to no tensor",
				e.Name, e.Offset, pos)
		}
		pos += e.Bytes
	}
	if pos != size {
		return fmt.Errorf("got a file of %d bytes, want %d, where its last tensor ends", size, pos)
	}
	return nil
}

// openSafetensors lists the tensors of one file; file is the path for errors.
func openSafetensors(r io.ReaderAt, size int64, file string) ([]*Tensor, error) {
	h, err := parseSafetensors(r, size)
	if err != nil {
		return nil, err
	}
	tensors := make([]*Tensor, len(h.Entries))
	for i, e := range h.Entries {
		t := newTensor(e.Name, e.DType, e.Shape)
		t.file, t.r, t.off, t.sizeBytes = file, r, e.Offset, e.Bytes
		if t.Stored == "F64" {
			t.sizeBytes /= 2
		}
		tensors[i] = t
	}
	return tensors, nil
}

// ReadFull fills p with the bytes of r from offset off on.
func ReadFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("got %d bytes at offset %d, want %d: %w", n, off, len(p), io.ErrUnexpectedEOF)
	}
	return err
}
