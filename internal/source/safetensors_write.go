package source

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// A HeaderEntry describes one tensor to [BuildHeader].
type HeaderEntry struct {
	Name  string
	DType string // as safetensors names it: F16, U8, ...
	Shape []int64
	Bytes int64 // must agree with DType and Shape
}

// BuildHeader returns the first bytes of a safetensors file, up to its first
// tensor: header length, JSON, and spaces that bring the end to a multiple of
// align, itself a multiple of 8. Offsets are assigned to entries in the order
// given, without gaps, so entries and data must be written in that order. The
// same arguments give the same bytes.
func BuildHeader(metadata map[string]string, entries []HeaderEntry, align int64) ([]byte, error) {
	h, err := buildHeader(metadata, entries, align)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: build header: %w", err)
	}
	return h, nil
}

func buildHeader(metadata map[string]string, entries []HeaderEntry, align int64) ([]byte, error) {
	if align < 8 || align%8 != 0 || align > maxHeaderBytes {
		return nil, fmt.Errorf("got alignment %d, want a multiple of 8 up to %d", align, maxHeaderBytes)
	}
	buf := bytes.NewBuffer(make([]byte, 8, 4096))
	buf.WriteByte('{')
	if len(metadata) > 0 {
		fmt.Fprintf(buf, "%s:{", jsonString(metadataKey))
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
				return nil, fmt.Errorf("metadata %.80q: got invalid UTF-8, want text", k)
			}
			if i > 0 {
				buf.WriteByte(',')
			}
			fmt.Fprintf(buf, "%s:%s", jsonString(k), jsonString(metadata[k]))
		}
		buf.WriteByte('}')
	}
	if err := appendEntries(buf, entries); err != nil {
		return nil, err
	}
	buf.WriteByte('}')
	if gap := int64(buf.Len()) % align; gap > 0 {
		buf.Write(bytes.Repeat([]byte{' '}, int(align-gap)))
	}
	n := int64(buf.Len() - 8)
	if n > maxHeaderBytes {
		return nil, fmt.Errorf("got %d bytes of header, want at most %d", n, maxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(buf.Bytes(), uint64(n))
	return buf.Bytes(), nil
}

func appendEntries(buf *bytes.Buffer, entries []HeaderEntry) error {
	seen := make(map[string]bool, len(entries))
	var off int64
	for _, e := range entries {
		if e.Name == metadataKey || seen[e.Name] || !utf8.ValidString(e.Name) {
			return fmt.Errorf("got tensor name %.200q, want UTF-8, each name once and not %s", e.Name, metadataKey)
		}
		seen[e.Name] = true
		check := SafetensorsEntry{DType: e.DType, Shape: e.Shape, Bytes: e.Bytes}
		if err := check.checkSize(); err != nil {
			return fmt.Errorf("tensor %.200q: %w", e.Name, err)
		}
		end := off + e.Bytes
		if e.Bytes < 0 || end < off {
			return fmt.Errorf("tensor %.200q: got %d bytes from offset %d, want a sum below 2^63", e.Name, e.Bytes, off)
		}
		if buf.Len() > len("12345678{") {
			buf.WriteByte(',')
		}
		shape, err := json.Marshal(append([]int64{}, e.Shape...))
		if err != nil {
			return err
		}
		fmt.Fprintf(buf, `%s:{"dtype":%s,"shape":%s,"data_offsets":[%d,%d]}`,
			jsonString(e.Name), jsonString(e.DType), shape, off, end)
		off = end
	}
	return nil
}

// jsonString quotes s without HTML escapes, as other writers do.
func jsonString(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	// Encoding a string to a buffer cannot fail.
	_ = enc.Encode(s)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// A TensorSpec is one tensor to [WriteSafetensors]: what it is and where its
// bytes come from.
type TensorSpec struct {
	HeaderEntry
	Write func(io.Writer) error // writes exactly Bytes bytes, little-endian, row-major
}

// WriteSafetensors streams a safetensors file to w, tensors in the order given;
// w gets many small writes if the Write functions make them. The same arguments
// give the same file.
func WriteSafetensors(w io.Writer, metadata map[string]string, tensors []TensorSpec) error {
	entries := make([]HeaderEntry, len(tensors))
	for i, t := range tensors {
		entries[i] = t.HeaderEntry
	}
	h, err := BuildHeader(metadata, entries, 8)
	if err != nil {
		return err
	}
	if _, err := w.Write(h); err != nil {
		return fmt.Errorf("checkpoint: write header: %w", err)
	}
	for _, t := range tensors {
		cw := countingWriter{w: w}
		if err := t.Write(&cw); err != nil {
			return fmt.Errorf("checkpoint: write tensor %.200q: %w", t.Name, err)
		}
		if cw.n != t.Bytes {
			return fmt.Errorf("checkpoint: write tensor %.200q: got %d bytes, want %d", t.Name, cw.n, t.Bytes)
		}
	}
	return nil
}

// countingWriter counts what passes through to w.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
