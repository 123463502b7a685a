package synth

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sparseflow/sparseflow/internal/source"
)

// The files of a checkpoint directory, in the order of their names.
const (
	configFile  = "config.json"
	weightsFile = "model.safetensors"
)

// drawnDir is a checkpoint directory that is made as it is read: an fs.FS whose
// weight file holds one layer in memory, the one that was last asked for.
// Layers can only be read one after the other, and a layer must have been read
// before the next is asked for; the rest can be read in any order.
type drawnDir struct {
	ctx     context.Context
	o       Options
	model   *model
	config  []byte   // all of config.json
	head    []byte   // of the weight file
	tensors []stored // of the weight file, in its order
	bytes   int64    // of the weight file

	sum    hash.Hash // as convert.SourceHash has it; nil: nobody wants it
	summed int       // tensors that are in sum

	mu    sync.Mutex
	layer int   // in m.weights; -1: none yet
	err   error // why there will be no further layer
}

// newSource lays the directory out. Headers can be read before start, weights
// after it.
func newSource(ctx context.Context, o Options) (s *drawnDir, err error) {
	o.Profile.ActiveShares = o.shares()
	s = &drawnDir{ctx: ctx, o: o, layer: -1, tensors: tensors(o.Profile)}
	if s.config, err = json.MarshalIndent(transformersConfig(o.Profile), "", "  "); err != nil {
		return nil, err
	}
	entries := make([]source.SafetensorsEntry, len(s.tensors))
	for i, t := range s.tensors {
		entries[i] = source.SafetensorsEntry{Name: t.name, DType: "F16", Shape: t.shape, Bytes: t.bytes()}
	}
	if s.head, err = source.BuildHeader(map[string]string{"format": "pt", "sparseflow.synthetic": "true"}, entries, 8); err != nil {
		return nil, err
	}
	s.bytes = int64(len(s.head))
	for i := range s.tensors {
		s.tensors[i].offset = s.bytes
		s.bytes += s.tensors[i].bytes()
	}
	return s, nil
}

// start takes the memory that drawing weights needs, and threads: close it.
func (s *drawnDir) start() { s.model = newModel(s.o) }

func (s *drawnDir) close() {
	if s.model != nil {
		s.model.cpu.Close()
	}
}

// at makes layer l the one in memory.
func (s *drawnDir) at(l int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l < s.layer:
		return fmt.Errorf("synth: read layer %d: got layer %d in memory already, want layers in order", l, s.layer)
	case s.err != nil && l > s.layer:
		return s.err
	}
	for s.layer < l {
		if s.err = s.sumThrough(s.layer); s.err != nil {
			return s.err
		}
		// What the layer before left in memory is lost whatever happens.
		s.layer++
		if s.err = s.model.layer(s.ctx, s.layer); s.err != nil {
			return s.err
		}
	}
	return nil
}

// sumThrough adds the tensors up to the end of a layer to the sum, while they are
// in memory.
func (s *drawnDir) sumThrough(layer int) error {
	if s.sum == nil {
		return nil
	}
	if s.summed == 0 {
		fmt.Fprintf(s.sum, "%s\x00%d\x00%s", configFile, len(s.config), s.config)
		fmt.Fprintf(s.sum, "%s\x00%d\x00%s", weightsFile, s.bytes, s.head)
	}
	buf := make([]byte, 1<<20)
	for ; s.summed < len(s.tensors) && s.tensors[s.summed].layer <= layer; s.summed++ {
		t := s.tensors[s.summed]
		for off := int64(0); off < t.bytes(); off += int64(len(buf)) {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			p := buf[:min(int64(len(buf)), t.bytes()-off)]
			s.fill(t, p, off)
			s.sum.Write(p)
		}
	}
	return nil
}

// digest is the sum of the whole directory, in hexadecimal.
func (s *drawnDir) digest() (string, error) {
	err := s.sumThrough(math.MaxInt)
	return hex.EncodeToString(s.sum.Sum(nil)), err
}

// ReadAt reads the weight file.
func (s *drawnDir) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(s.head)) {
		n = copy(p, s.head[off:])
	}
	i, _ := slices.BinarySearchFunc(s.tensors, off+int64(n), func(t stored, off int64) int {
		if t.offset+t.bytes() <= off {
			return -1
		}
		return 1
	})
	for ; i < len(s.tensors) && n < len(p); i++ {
		t := s.tensors[i]
		if err := s.ctx.Err(); err != nil {
			return n, err
		}
		if t.layer >= 0 {
			if err := s.at(t.layer); err != nil {
				return n, err
			}
		}
		from := off + int64(n) - t.offset
		part := p[n:min(int64(len(p)), int64(n)+t.bytes()-from)]
		s.fill(t, part, from)
		n += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill sets p to a tensor's bytes from off on. Its layer, if it has one, is in
// memory.
func (s *drawnDir) fill(t stored, p []byte, off int64) {
	if t.rows == nil {
		copy(p, t.data(s.model.weights)[off:])
		return
	}
	// Whole rows are drawn, of which p may start and end within one.
	row := 2 * int64(s.model.space.d)
	first := off / row
	n := (off+int64(len(p))+row-1)/row - first
	whole := p
	if n*row != int64(len(p)) {
		whole = make([]byte, n*row)
	}
	s.model.space.fill(whole, t.rows(s.model.space), int(first), int(n), s.o.threads())
	if n*row != int64(len(p)) {
		copy(p, whole[off-first*row:])
	}
}

// Open opens a file of the directory, or the directory to look at.
func (s *drawnDir) Open(name string) (fs.File, error) {
	switch name {
	case ".":
		return handle{io.NewSectionReader(bytes.NewReader(nil), 0, 0), name}, nil
	case configFile:
		return handle{io.NewSectionReader(bytes.NewReader(s.config), 0, int64(len(s.config))), name}, nil
	case weightsFile:
		return handle{io.NewSectionReader(s, 0, s.bytes), name}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// handle is an open file of the directory, and what is known of it.
type handle struct {
	*io.SectionReader
	name string
}

// Stat implements fs.File; a handle is its own fs.FileInfo.
func (h handle) Stat() (fs.FileInfo, error) { return h, nil }

// Close implements fs.File.
func (h handle) Close() error { return nil }

// Name implements fs.FileInfo.
func (h handle) Name() string { return h.name }

// Mode implements fs.FileInfo.
func (h handle) Mode() fs.FileMode {
	if h.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// ModTime implements fs.FileInfo.
func (h handle) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo.
func (h handle) IsDir() bool { return h.name == "." }

// Sys implements fs.FileInfo.
func (h handle) Sys() any { return nil }
