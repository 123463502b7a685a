package sidecar

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sparseflow/sparseflow/internal/source"
)

// remedy ends the errors about a file that cannot be used.
const remedy = "if it is damaged, remove it and profile and train the model anew"

// Open reads the sidecar at path, which must be of the checkpoint with the
// given SHA-256: a [MismatchError] says that it is not. If there is no file, the
// error is fs.ErrNotExist.
func Open(path, sourceSHA256 string) (*Sidecar, error) {
	f, size, err := source.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	defer f.Close()
	return Read(f, size, path, sourceSHA256)
}

// Read is [Open] of a file of size bytes that lies elsewhere, such as an
// embedded one; name stands for its path.
func Read(r io.ReaderAt, size int64, name, sourceSHA256 string) (*Sidecar, error) {
	if err := checkSize(size); err != nil {
		return nil, fmt.Errorf("sidecar: open %s: %w", name, err)
	}
	h, err := source.ParseSafetensors(r, size, name)
	if err != nil {
		return nil, fmt.Errorf("sidecar: open: not a sidecar: %w; %s", err, remedy)
	}
	s, err := read(r, h)
	if err != nil {
		return nil, fmt.Errorf("sidecar: open %s: %w; %s", name, err, remedy)
	}
	// Last, so that a damaged hash is not taken for another one.
	if s.source != sourceSHA256 {
		return nil, &MismatchError{Path: name, Got: s.source, Want: sourceSHA256}
	}
	return s, nil
}

// read reads all of a file, and demands that it is what would be written for
// what was read. The header's tensors tile the file.
func read(r io.ReaderAt, h *source.SafetensorsHeader) (*Sidecar, error) {
	s, err := readMetadata(h.Metadata)
	if err != nil {
		return nil, err
	}
	n := len(h.Entries) - 1
	if n < 0 || h.Entries[n].Name != crcName || h.Entries[n].Bytes != crcBytes {
		return nil, fmt.Errorf("got no checksum at the end, want a tensor %s of %d bytes there", crcName, crcBytes)
	}
	header, err := readPart(r, 0, h.HeaderBytes)
	if err != nil {
		return nil, err
	}
	// Several at a time: fresh memory can be slower to come than the file.
	parts := make([][]byte, n+1)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range h.Entries {
		g.Go(func() (err error) {
			parts[i], err = readPart(r, e.Offset, e.Bytes)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	sum := newChecksum()
	sum.Write(header)
	for i, e := range h.Entries[:n] {
		sum.Write(parts[i])
		if err := s.take(e, parts[i]); err != nil {
			return nil, err
		}
	}
	got, crc := sum.Sum32(), parts[n]
	if want := binary.LittleEndian.Uint32(crc); got != want {
		return nil, fmt.Errorf("got CRC-32C %08x, want %08x", got, want)
	}
	l, err := s.layout()
	if err != nil {
		return nil, err
	}
	// The same header: no key, tensor or order but those of layout.
	if !bytes.Equal(l.header, header) {
		return nil, errors.New("got a header that this program would write differently for the same contents, want one that it wrote")
	}
	return s, nil
}

// readMetadata returns a sidecar with the sections' JSON.
func readMetadata(meta map[string]string) (*Sidecar, error) {
	v, ok := meta[keyVersion]
	if !ok {
		return nil, fmt.Errorf("got no %s in its metadata, want a sidecar", keyVersion)
	}
	if v != version {
		return nil, fmt.Errorf("got %s %.20q, want %q: another version of this program made it; make it again by sparseflow train MODEL", keyVersion, v, version)
	}
	s := New(meta[keySource])
	for key, value := range meta {
		if name, ok := strings.CutPrefix(key, sectionPrefix); ok {
			s.sections[name] = Section{JSON: json.RawMessage(value), Tensors: map[string]Tensor{}}
		}
	}
	return s, nil
}

// take puts a tensor, b, into its section.
func (s *Sidecar) take(e source.SafetensorsEntry, b []byte) error {
	section, name, _ := strings.Cut(e.Name, "/")
	sec, ok := s.sections[section]
	if !ok && e.Name != padName {
		return fmt.Errorf("got tensor %.200q, want its section in the metadata", e.Name)
	}
	if e.Name == padName {
		if len(bytes.Trim(b, "\x00")) > 0 {
			return fmt.Errorf("got %s %x, want zeros", padName, b[:min(len(b), crcBytes)])
		}
		return nil
	}
	sec.Tensors[name] = Tensor{DType: e.DType, Shape: e.Shape, Data: b}
	return nil
}

// readPart returns n bytes, which the file has. Each part is its own allocation, so
// that one section in use does not keep the others in memory.
func readPart(r io.ReaderAt, offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	return b, source.ReadFull(r, b, offset)
}
