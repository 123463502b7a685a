package sidecar

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/source"
)

// Keys of the metadata.
const (
	keyVersion    = "sparseflow.sidecar.version"
	keySource     = "sparseflow.source_sha256"
	sectionPrefix = "section."
)

// version is the format's version.
const version = "1"

// Names of the tensors that belong to no section; those of sections have a
// slash.
const (
	padName = "pad"
	crcName = "crc"
)

// crcBytes is the size, and the alignment, of the checksum.
const crcBytes = 4

// A part is one tensor of the file.
type part struct {
	source.SafetensorsEntry
	data []byte
}

// A layout is all of a sidecar's file but the checksum at its end. There is
// one for every sidecar.
type layout struct {
	header []byte
	parts  []part
}

// layout checks the sidecar and lays its file out.
func (s *Sidecar) layout() (*layout, error) {
	if err := source.CheckHash(s.source); err != nil {
		return nil, err
	}
	meta := map[string]string{keyVersion: version, keySource: s.source}
	l := &layout{}
	for _, name := range s.Names() {
		sec := s.sections[name]
		if err := checkSection(name, sec); err != nil {
			return nil, fmt.Errorf("section %.80q: %w", name, err)
		}
		meta[sectionPrefix+name] = string(sec.JSON)
		for tensor, t := range sec.Tensors {
			l.parts = append(l.parts, newPart(name+"/"+tensor, t))
		}
	}
	// No two parts have the same name, so the order of the maps is forgotten.
	slices.SortFunc(l.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(elemBytes(b.DType), elemBytes(a.DType)), strings.Compare(a.Name, b.Name))
	})
	return l, l.finish(meta)
}

// finish adds padding and header.
func (l *layout) finish(meta map[string]string) (err error) {
	var data int64
	for _, p := range l.parts {
		data += p.Bytes
	}
	if n := -data & (crcBytes - 1); n > 0 {
		l.parts = append(l.parts, newPart(padName, Tensor{"U8", []int64{n}, make([]byte, n)}))
		data += n
	}
	entries := make([]source.SafetensorsEntry, 0, len(l.parts)+1)
	for _, p := range l.parts {
		entries = append(entries, p.SafetensorsEntry)
	}
	entries = append(entries, source.SafetensorsEntry{Name: crcName, DType: "U32", Shape: []int64{1}, Bytes: crcBytes})
	if l.header, err = source.BuildHeader(meta, entries, 8); err != nil {
		return err
	}
	return checkSize(int64(len(l.header)) + data + crcBytes)
}

func newPart(name string, t Tensor) part {
	return part{source.SafetensorsEntry{Name: name, DType: t.DType, Shape: t.Shape, Bytes: int64(len(t.Data))}, t.Data}
}

// checkSection finds what the header's builder does not.
func checkSection(name string, sec Section) error {
	if name == "" || strings.Contains(name, "/") {
		return errors.New("got that name, want one that is not empty and has no slash")
	}
	if !json.Valid(sec.JSON) {
		return fmt.Errorf("got %.80q, want a JSON value", sec.JSON)
	}
	for tensor, t := range sec.Tensors {
		if tensor == "" {
			return errors.New("got a tensor without a name, want each named")
		}
		if elemBytes(t.DType) == 0 {
			return fmt.Errorf("tensor %.80q: got element type %.40q, want F32, U32, F16 or U8", tensor, t.DType)
		}
	}
	return nil
}

func checkSize(n int64) error {
	if n > MaxBytes {
		return fmt.Errorf("got a file of %d bytes, want at most %d", n, MaxBytes)
	}
	return nil
}

// elemBytes is the size of an element, 0 for a type that a sidecar cannot hold.
func elemBytes(dtype string) int64 {
	switch dtype {
	case "F32", "U32":
		return 4
	case "F16":
		return 2
	case "U8":
		return 1
	}
	return 0
}

// write writes the whole file.
func (l *layout) write(w io.Writer) error {
	sum := newChecksum()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(l.header); err != nil {
		return err
	}
	for _, p := range l.parts {
		if _, err := both.Write(p.data); err != nil {
			return err
		}
	}
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// newChecksum is a running CRC-32C. MakeTable returns a shared table and is
// cheap after the first call.
func newChecksum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }
