package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Keys of the metadata.
const (
	keyVersion = "sparseflow.version"
	keyName    = "sparseflow.name"
	keyProfile = "sparseflow.profile"
	keySource  = "sparseflow.source_sha256"
	keyAttn    = "sparseflow.dtype.attn"
	keyMLP     = "sparseflow.dtype.mlp"
	keyTypes   = "sparseflow.dtypes" // JSON: those of single matrices, by name
	keyStride  = "sparseflow.bundle_stride"
	keyOrdered = "sparseflow.ordered" // "true", or not there
)

// ErrVersion is the cause of an error about a file that is a pack, or may once
// have been one, but not of the version that this program reads. The way out is
// to make the pack again.
var ErrVersion = errors.New("another version of this program made the pack: make it again by sparseflow pack CHECKPOINT -o PACK")

// header builds the header of a file with the given source hash; an empty one
// stands for any, since all have the same length.
func (l *Layout) header(sha256 string) ([]byte, error) {
	if sha256 == "" {
		sha256 = strings.Repeat("0", 64)
	}
	if err := source.CheckHash(sha256); err != nil {
		return nil, fmt.Errorf("pack: build header: %w", err)
	}
	profile, err := json.Marshal(l.profile)
	if err != nil {
		return nil, fmt.Errorf("pack: build header: %w", err)
	}
	meta := map[string]string{
		keyVersion: version,
		keyName:    l.name,
		keyProfile: string(profile),
		keySource:  sha256,
		keyAttn:    l.attn.String(),
		keyMLP:     l.mlp.String(),
		keyStride:  strconv.FormatInt(l.stride, 10),
	}
	if len(l.types) > 0 {
		names := make(map[string]string, len(l.types))
		for name, t := range l.types {
			names[name] = t.String()
		}
		types, err := json.Marshal(names)
		if err != nil {
			return nil, fmt.Errorf("pack: build header: %w", err)
		}
		meta[keyTypes] = string(types)
	}
	if l.ordered {
		meta[keyOrdered] = "true"
	}
	h, err := source.BuildHeader(meta, l.entries, pageBytes)
	if err != nil {
		return nil, fmt.Errorf("pack: build header: %w", err)
	}
	return h, nil
}

// describe reads what the layout is computed from out of a header. The version
// was checked before.
func describe(h *source.SafetensorsHeader) (d description, err error) {
	m := h.Metadata
	dec := json.NewDecoder(strings.NewReader(m[keyProfile]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d.profile); err != nil {
		return d, fmt.Errorf("%s: %w", keyProfile, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return d, fmt.Errorf("%s: got more after the JSON object, want its end", keyProfile)
	}
	if err := d.profile.Validate(); err != nil {
		return d, fmt.Errorf("%s: %w", keyProfile, err)
	}
	if d.attn, err = tensor.ParseDType(m[keyAttn]); err != nil {
		return d, fmt.Errorf("%s: %w", keyAttn, err)
	}
	if d.mlp, err = tensor.ParseDType(m[keyMLP]); err != nil {
		return d, fmt.Errorf("%s: %w", keyMLP, err)
	}
	if d.types, err = readTypes(m[keyTypes]); err != nil {
		return d, fmt.Errorf("%s: %w", keyTypes, err)
	}
	if d.stride, err = strconv.ParseInt(m[keyStride], 10, 64); err != nil {
		return d, fmt.Errorf("%s: %w", keyStride, err)
	}
	d.source = m[keySource]
	if err := source.CheckHash(d.source); err != nil {
		return d, fmt.Errorf("%s: %w", keySource, err)
	}
	switch v, ok := m[keyOrdered]; {
	case v == "true":
		d.ordered = true
	case ok:
		return d, fmt.Errorf("%s: got %.80q, want true or none", keyOrdered, v)
	}
	d.name = m[keyName]
	d.tokenizer = make(map[string]int64)
	for _, e := range h.Entries {
		if name, ok := strings.CutPrefix(e.Name, tokenizerPrefix); ok {
			d.tokenizer[name] = e.Bytes
		}
	}
	return d, nil
}

// readTypes reads the element types of single matrices.
func readTypes(raw string) (map[string]tensor.DType, error) {
	if raw == "" {
		return nil, nil
	}
	var names map[string]string
	if err := json.Unmarshal([]byte(raw), &names); err != nil {
		return nil, err
	}
	types := make(map[string]tensor.DType, len(names))
	for name, t := range names {
		d, err := tensor.ParseDType(t)
		if err != nil {
			return nil, err
		}
		types[name] = d
	}
	return types, nil
}

// compare holds a file's entries to those of the layout, which has at most one
// answer for every description.
func (l *Layout) compare(h *source.SafetensorsHeader) error {
	for i, want := range l.entries {
		if i >= len(h.Entries) {
			return fmt.Errorf("got %d tensors, want %d, of them %q", len(h.Entries), len(l.entries), want.Name)
		}
		got := h.Entries[i]
		if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || got.Offset != want.Offset {
			return fmt.Errorf("got tensor %.200q of %s %v at offset %d, want %q of %s %v at offset %d",
				got.Name, got.DType, clip(got.Shape), got.Offset, want.Name, want.DType, want.Shape, want.Offset)
		}
	}
	if n := len(l.entries); len(h.Entries) > n {
		return fmt.Errorf("got tensor %.200q, want no more than %d tensors", h.Entries[n].Name, n)
	}
	return nil
}

// clip keeps an error about a hostile shape short.
func clip(shape []int64) []int64 { return shape[:min(len(shape), 8)] }

// checkHead holds the page of checksums at the file's end to what it covers.
func (l *Layout) checkHead(path string, header, blocks, units, head []byte) error {
	crcs := parseTable(head[:4*headCRCs])
	if err := check(path, "the header", 0, header, crcs[0]); err != nil {
		return err
	}
	if err := check(path, blocksTable, l.blocksOffset, blocks, crcs[1]); err != nil {
		return err
	}
	if err := check(path, l.unitsTable(), l.unitsOffset, units, crcs[2]); err != nil {
		return err
	}
	return checkZero(path, headTable, l.headOffset+4*headCRCs, head[4*headCRCs:])
}

// checkZero holds padding to zeros.
func checkZero(path, part string, offset int64, b []byte) error {
	if rest := bytes.TrimLeft(b, "\x00"); len(rest) > 0 {
		at := int64(len(b) - len(rest))
		return &DamageError{Path: path, Part: part, Offset: offset + at, Bytes: 1,
			Detail: fmt.Sprintf("got padding byte %#02x, want 0", rest[0])}
	}
	return nil
}

// checkVersion tells a pack from other files and from packs of another version.
func checkVersion(m map[string]string) error {
	v, ok := m[keyVersion]
	if !ok {
		return fmt.Errorf("got no %s in its metadata, want a pack (.sflow); is this a checkpoint?", keyVersion)
	}
	if v != version {
		return fmt.Errorf("got %s %.20q, want %q: %w", keyVersion, v, version, ErrVersion)
	}
	return nil
}
