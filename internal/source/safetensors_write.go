package source

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// BuildHeader returns the first bytes of a safetensors file, up to its first
// tensor: header length, JSON, and spaces that bring the end to a multiple of
// align, itself a multiple of 8. The tensors lie in the order of entries, without
// gaps: an entry's Offset does not count, and its Bytes must agree with type and
// shape. The same arguments give the same bytes.
func BuildHeader(metadata map[string]string, entries []SafetensorsEntry, align int64) ([]byte, error) {
	if align < 8 || align%8 != 0 || align > maxHeaderBytes {
		return nil, fmt.Errorf("source: build header: got alignment %d, want a multiple of 8 up to %d", align, maxHeaderBytes)
	}
	buf := bytes.NewBuffer(make([]byte, 8, 4096))
	buf.WriteByte('{')
	if len(metadata) > 0 {
		fmt.Fprintf(buf, "%s:{", jsonString(metadataKey))
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
				return nil, fmt.Errorf("source: build header: metadata %.80q: got invalid UTF-8, want text", k)
			}
			if i > 0 {
				buf.WriteByte(',')
			}
			fmt.Fprintf(buf, "%s:%s", jsonString(k), jsonString(metadata[k]))
		}
		buf.WriteByte('}')
	}
	if err := appendEntries(buf, entries); err != nil {
		return nil, fmt.Errorf("source: build header: %w", err)
	}
	buf.WriteByte('}')
	if gap := int64(buf.Len()) % align; gap > 0 {
		buf.Write(bytes.Repeat([]byte{' '}, int(align-gap)))
	}
	n := int64(buf.Len() - 8)
	if n > maxHeaderBytes {
		return nil, fmt.Errorf("source: build header: got %d bytes of header, want at most %d", n, maxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(buf.Bytes(), uint64(n))
	return buf.Bytes(), nil
}

func appendEntries(buf *bytes.Buffer, entries []SafetensorsEntry) error {
	seen := make(map[string]bool, len(entries))
	var off int64
	for _, e := range entries {
		if e.Name == metadataKey || seen[e.Name] || !utf8.ValidString(e.Name) {
			return fmt.Errorf("got tensor name %.200q, want UTF-8, each name once and not %s", e.Name, metadataKey)
		}
		seen[e.Name] = true
		if err := e.checkSize(); err != nil {
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
