package trace

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

const (
	magic   = "SFTRACE\n"
	version = 1
	// What a header may say at most: beyond any model, and harmless.
	maxLayers = 1 << 12
	maxFFN    = 1 << 22
	maxInfo   = 1 << 16 // bytes of JSON
	crcBytes  = 4
)

func newCRC() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// check reports sizes that no trace has.
func (i Info) check() error {
	switch {
	case i.Layers < 1 || i.Layers > maxLayers:
		return fmt.Errorf("got %d layers, want 1 to %d", i.Layers, maxLayers)
	case i.FFN < 1 || i.FFN > maxFFN:
		return fmt.Errorf("got %d neurons a layer, want 1 to %d", i.FFN, maxFFN)
	case i.Stride < 1 || i.Stride > 1<<30:
		return fmt.Errorf("got a stride of %d bytes, want 1 to %d", i.Stride, 1<<30)
	}
	return nil
}

// A Recorder writes a trace. It is used by one goroutine.
type Recorder struct {
	info Info
	path string
	file *os.File
	buf  *bufio.Writer
	crc  hash.Hash32

	step  []byte // under way
	layer int    // next one of step
	steps uint64
	err   error // the first
}

// Create starts the trace that is to be at path, in a temporary file beside it.
// End it with Close or Abort.
func Create(path string, info Info) (*Recorder, error) {
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("trace: create %s: %w", path, err)
	}
	head, err := json.Marshal(info)
	if err == nil && len(head) > maxInfo {
		err = fmt.Errorf("got a description of %d bytes, want at most %d", len(head), maxInfo)
	}
	if err != nil {
		return nil, fmt.Errorf("trace: create %s: %w", path, err)
	}
	if err := atomicfile.Replaceable(path); err != nil {
		return nil, fmt.Errorf("trace: create: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sparseflow-trace-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("trace: create %s: %w", path, err)
	}
	r := &Recorder{info: info, path: path, file: f, crc: newCRC()}
	r.buf = bufio.NewWriterSize(io.MultiWriter(f, r.crc), 64<<10)
	b := binary.AppendUvarint([]byte(magic), version)
	b = binary.AppendUvarint(b, uint64(len(head)))
	r.write(append(b, head...))
	return r, nil
}

// Want says what the next layer of a step wants, ids ascending. Layers come in
// order; the first one begins a step anew, whether or not the one before came
// to its end. Errors are told by Close.
func (r *Recorder) Want(layer int, ids []int32) {
	if layer == 0 {
		r.step, r.layer = append(r.step[:0], stepFollows), 0
	}
	if layer != r.layer {
		r.fail(fmt.Errorf("got layer %d, want %d", layer, r.layer))
		return
	}
	r.step = binary.AppendUvarint(r.step, uint64(len(ids)))
	next := int32(0)
	for _, id := range ids {
		if id < next || int(id) >= r.info.FFN {
			r.fail(fmt.Errorf("layer %d: got neuron %d, want %d to %d", layer, id, next, r.info.FFN-1))
			return
		}
		r.step = binary.AppendUvarint(r.step, uint64(id-next))
		next = id + 1
	}
	if r.layer++; r.layer == r.info.Layers {
		r.write(r.step)
		r.steps++
	}
}

// What begins a step, and what stands in its place after the last one.
const (
	stepFollows = 1
	stepsEnd    = 0
)

// Steps is the number of whole steps so far.
func (r *Recorder) Steps() int { return int(r.steps) }

func (r *Recorder) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("trace: write %s: %w", r.path, err)
	}
}

func (r *Recorder) write(b []byte) {
	if _, err := r.buf.Write(b); err != nil {
		r.fail(err)
	}
}

// Close finishes the trace and gives it its name, in place of what had it
// before. After an error nothing is left of it.
func (r *Recorder) Close() error {
	r.write(binary.AppendUvarint([]byte{stepsEnd}, r.steps))
	if err := r.buf.Flush(); err != nil {
		r.fail(err)
	}
	if r.err == nil {
		_, err := r.file.Write(binary.LittleEndian.AppendUint32(nil, r.crc.Sum32()))
		if err == nil {
			err = os.Chmod(r.file.Name(), 0o644) // CreateTemp's is the owner's alone
		}
		if err == nil {
			err = atomicfile.Commit(r.file.Sync, r.file.Name(), r.path)
		}
		if err != nil {
			r.fail(err)
		}
	}
	if r.err != nil {
		return errors.Join(r.err, r.Abort())
	}
	return r.file.Close()
}

// Abort gives up and removes the temporary file.
func (r *Recorder) Abort() error {
	return errors.Join(os.Remove(r.file.Name()), r.file.Close())
}

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

// Parse reads a trace from its bytes.
func Parse(b []byte) (*Trace, error) {
	if len(b) < len(magic)+crcBytes || string(b[:len(magic)]) != magic {
		return nil, errors.New("got another kind of file, want a trace of sparseflow bench --trace")
	}
	body := b[:len(b)-crcBytes]
	crc := newCRC()
	crc.Write(body)
	if got, want := crc.Sum32(), binary.LittleEndian.Uint32(b[len(body):]); got != want {
		return nil, fmt.Errorf("got CRC-32C %08x, want %08x: the trace is damaged or cut short; record it again", got, want)
	}
	p := parser{rest: body[len(magic):]}
	t, err := p.trace()
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", len(body)-len(p.rest), err)
	}
	return t, nil
}

// parser reads what a trace consists of.
type parser struct{ rest []byte }

func (p *parser) uvarint() (uint64, error) {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		return 0, errors.New("got no number, want one")
	}
	p.rest = p.rest[n:]
	return v, nil
}

// number is a uvarint of at most most.
func (p *parser) number(what string, most int) (int, error) {
	v, err := p.uvarint()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if most < 0 || v > uint64(most) {
		return 0, fmt.Errorf("%s: got %d, want at most %d", what, v, most)
	}
	return int(v), nil
}

func (p *parser) trace() (*Trace, error) {
	v, err := p.uvarint()
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if v != version {
		return nil, fmt.Errorf("got version %d, want %d, the only one known to this program", v, version)
	}
	n, err := p.number("size of the description", min(maxInfo, len(p.rest)))
	if err == nil && n > len(p.rest) {
		err = fmt.Errorf("got %d bytes of description, want %d", len(p.rest), n)
	}
	if err != nil {
		return nil, err
	}
	t := &Trace{}
	if err := json.Unmarshal(p.rest[:n], &t.Info); err != nil {
		return nil, err
	}
	p.rest = p.rest[n:]
	if err := t.check(); err != nil {
		return nil, err
	}
	t.Sets = make([]Sets, t.Layers)
	for {
		kind, err := p.number("step", stepFollows)
		if err != nil {
			return nil, err
		}
		if kind == stepsEnd {
			break
		}
		for l := range t.Sets {
			if err := p.set(&t.Sets[l], t.FFN); err != nil {
				return nil, fmt.Errorf("step %d, layer %d: %w", t.Sets[l].Len(), l, err)
			}
		}
	}
	steps, err := p.uvarint()
	if err != nil {
		return nil, err
	}
	if steps != uint64(t.Steps()) || len(p.rest) > 0 {
		return nil, fmt.Errorf("got %d steps and %d bytes after them, want %d steps and none", t.Steps(), len(p.rest), steps)
	}
	return t, nil
}

// set reads the next step's set of a layer.
func (p *parser) set(s *Sets, ffn int) error {
	n, err := p.number("neurons", ffn)
	if err != nil {
		return err
	}
	next := 0
	for range n {
		gap, err := p.number("neuron", ffn-1-next)
		if err != nil {
			return err
		}
		s.ids = append(s.ids, int32(next+gap))
		next += gap + 1
	}
	s.ends = append(s.ends, len(s.ids))
	return nil
}
