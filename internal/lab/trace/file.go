package trace

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

const (
	magic    = "SFTRACE3"
	crcBytes = 4
	// mostGrowth is how many times a trace may be as large as its file.
	mostGrowth = 256
	// What a file may say at most: beyond any model, and harmless.
	maxLayers = 1 << 12
	maxFFN    = 1 << 22
)

// check reports sizes that no trace has.
func (i Info) check() error {
	switch {
	case i.Layers < 1 || i.Layers > maxLayers:
		return fmt.Errorf("got %d layers, want 1 to %d", i.Layers, maxLayers)
	case i.FFN < 1 || i.FFN > maxFFN:
		return fmt.Errorf("got %d neurons a layer, want 1 to %d", i.FFN, maxFFN)
	case i.Having < 0 || i.Having >= i.Layers && i.Having > 0 || i.TopK < 0 || i.TopK > i.FFN:
		return fmt.Errorf("got %d of %d layers with units and %d of %d wanted, want fewer layers than all, and no more units", i.Having, i.Layers, i.TopK, i.FFN)
	case i.Stride < 1 || i.Stride > 1<<30:
		return fmt.Errorf("got a stride of %d bytes, want 1 to %d", i.Stride, 1<<30)
	}
	return nil
}

// check reports what is no trace.
func (t *Trace) check() error {
	if err := t.Info.check(); err != nil {
		return err
	}
	if len(t.Sets) != t.Layers {
		return fmt.Errorf("got sets of %d layers, want %d", len(t.Sets), t.Layers)
	}
	for l := range t.Sets {
		if err := t.Sets[l].check(t.Steps(), t.FFN); err != nil {
			return fmt.Errorf("layer %d: %w", l, err)
		}
	}
	return nil
}

// check reports what are no sets of so many steps, of ffn neurons.
func (s *Sets) check(steps, ffn int) error {
	if len(s.Ends) != steps {
		return fmt.Errorf("got %d steps, want %d", len(s.Ends), steps)
	}
	from := 0
	for step, to := range s.Ends {
		if to < from || to > len(s.IDs) {
			return fmt.Errorf("step %d: got an end at %d, want %d to %d", step, to, from, len(s.IDs))
		}
		next := int32(0)
		for _, id := range s.IDs[from:to] {
			if id < next || int(id) >= ffn {
				return fmt.Errorf("step %d: got neuron %d, want %d to %d", step, id, next, ffn-1)
			}
			next = id + 1
		}
		from = to
	}
	if from != len(s.IDs) {
		return fmt.Errorf("got %d neurons in %d steps and %d after them, want none", from, steps, len(s.IDs)-from)
	}
	return nil
}

// Write writes the trace to path, in place of what was there before.
func (t *Trace) Write(path string) error {
	b, err := t.encode()
	if err == nil {
		err = atomicfile.Write(path, func(w io.Writer) error { _, err := w.Write(b); return err })
	}
	if err != nil {
		return fmt.Errorf("trace: write %s: %w", path, err)
	}
	return nil
}

func (t *Trace) encode() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(magic)
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		err = errors.Join(gob.NewEncoder(z).Encode(t), z.Close())
	}
	return binary.LittleEndian.AppendUint32(b.Bytes(), checksum(b.Bytes())), err
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Load reads the trace at path.
func Load(path string) (*Trace, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("trace: load: %w", err)
	}
	// Looked at first: a named pipe would wait for its writer.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("trace: load %s: got %v, want a regular file", path, info.Mode().Type())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("trace: load: %w", err)
	}
	t, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("trace: load %s: %w", path, err)
	}
	return t, nil
}

// Parse reads a trace from its bytes, be they a recorder's or a routing trace's.
func Parse(b []byte) (*Trace, error) {
	if bytes.HasPrefix(b, []byte("#")) {
		return parseCSV(b)
	}
	if len(b) < len(magic)+crcBytes || string(b[:len(magic)]) != magic {
		return nil, errors.New("got another kind of file, want a trace of sparseflow bench --trace, of this version, or a routing trace as CSV that begins with a comment")
	}
	body := b[:len(b)-crcBytes]
	if got, want := checksum(body), binary.LittleEndian.Uint32(b[len(body):]); got != want {
		return nil, fmt.Errorf("got CRC-32C %08x, want %08x: the trace is damaged or cut short; record it again", got, want)
	}
	z := flate.NewReader(bytes.NewReader(body[len(magic):]))
	defer z.Close()
	t := &Trace{}
	if err := gob.NewDecoder(io.LimitReader(z, mostGrowth*int64(len(b)))).Decode(t); err != nil {
		return nil, fmt.Errorf("got no trace: %w", err)
	}
	return t, t.check()
}
