package synth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/sparseflow/sparseflow/internal/source"
)

// drawnDir is a checkpoint directory that is made as it is read: an fs.FS whose
// weight files hold one layer in memory, the one that was last asked for.
// Layers can only be read one after the other, and a layer must have been read
// before the next is asked for; the rest can be read in any order.
type drawnDir struct {
	ctx   context.Context
	o     Options
	model *model
	files []*file // by name

	hash *hasher // nil: nobody wants it

	mu    sync.Mutex
	layer int   // in m.weights; -1: none yet
	err   error // why there will be no further layer
}

// file is one file of the directory.
type file struct {
	name    string
	bytes   int64
	head    []byte // all of a file without tensors
	tensors []placed
}

// placed is a tensor in a weight file.
type placed struct {
	stored
	offset int64
}

// stored is a tensor as a checkpoint has it, float16.
type stored struct {
	name  string
	shape []int64
	layer int // -1: of none
	// data is the tensor, while its layer is the one in memory.
	data func(m *model) []byte
	// rows is how an embedding is drawn, which is never in memory whole.
	rows func(s *space) rows
}

func (t stored) bytes() int64 {
	n := int64(2)
	for _, s := range t.shape {
		n *= s
	}
	return n
}

// newSource lays the directory out. Headers can be read before start, weights
// after it.
func newSource(ctx context.Context, o Options) (*drawnDir, error) {
	s := &drawnDir{ctx: ctx, o: o, layer: -1}
	conf, err := json.MarshalIndent(transformersConfig(o.Profile), "", "  ")
	if err != nil {
		return nil, err
	}
	weights, err := s.weights()
	s.files = []*file{{name: "config.json", bytes: int64(len(conf)), head: conf}, weights}
	return s, err
}

// start takes the memory that drawing weights needs, and threads: close it.
func (s *drawnDir) start() { s.model = newModel(s.o) }

func (s *drawnDir) close() {
	if s.model != nil {
		s.model.cpu.Close()
	}
}

// size is that of all files.
func (s *drawnDir) size() (n int64) {
	for _, f := range s.files {
		n += f.bytes
	}
	return n
}

// weights lays out the weight file.
func (s *drawnDir) weights() (*file, error) {
	list := tensors(s.o)
	entries := make([]source.SafetensorsEntry, len(list))
	for i, t := range list {
		entries[i] = source.SafetensorsEntry{Name: t.name, DType: "F16", Shape: t.shape, Bytes: t.bytes()}
	}
	head, err := source.BuildHeader(map[string]string{"format": "pt", "sparseflow.synthetic": "true"}, entries, 8)
	if err != nil {
		return nil, err
	}
	f := &file{name: "model.safetensors", head: head, bytes: int64(len(head))}
	for _, t := range list {
		f.tensors = append(f.tensors, placed{t, f.bytes})
		f.bytes += t.bytes()
	}
	return f, nil
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
		if s.hash != nil {
			if s.err = s.hash.through(s.layer); s.err != nil {
				return s.err
			}
		}
		// What the layer before left in memory is lost whatever happens.
		s.layer++
		if s.err = s.model.layer(s.ctx, s.layer); s.err != nil {
			return s.err
		}
	}
	return nil
}

// readAt is io.ReaderAt for a file.
func (s *drawnDir) readAt(f *file, p []byte, off int64) (n int, err error) {
	if off < 0 || off > f.bytes {
		return 0, fmt.Errorf("synth: read %s: got offset %d, want 0 to %d", f.name, off, f.bytes)
	}
	if off < int64(len(f.head)) {
		n = copy(p, f.head[off:])
	}
	i, _ := slices.BinarySearchFunc(f.tensors, off+int64(n), func(t placed, off int64) int {
		if t.offset+t.bytes() <= off {
			return -1
		}
		return 1
	})
	for ; i < len(f.tensors) && n < len(p); i++ {
		t := f.tensors[i]
		from := off + int64(n) - t.offset
		part := p[n:min(int64(len(p)), int64(n)+t.bytes()-from)]
		if err := s.read(t.stored, part, from); err != nil {
			return n, err
		}
		n += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read fills p with a tensor's bytes from off on.
func (s *drawnDir) read(t stored, p []byte, off int64) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if t.layer >= 0 {
		if err := s.at(t.layer); err != nil {
			return err
		}
	}
	s.fill(t, p, off)
	return nil
}

// fill is read for a tensor that can be had.
func (s *drawnDir) fill(t stored, p []byte, off int64) {
	if t.rows == nil {
		copy(p, t.data(s.model)[off:])
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
	if name == "." {
		return &handle{file: &file{name: "."}}, nil
	}
	for _, f := range s.files {
		if f.name == name {
			return &handle{s: s, file: f}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// handle is an open file, and what is known of it.
type handle struct {
	s    *drawnDir
	file *file
	off  int64
}

// ReadAt implements io.ReaderAt, as package checkpoint demands.
func (h *handle) ReadAt(p []byte, off int64) (int, error) { return h.s.readAt(h.file, p, off) }

// Read implements fs.File.
func (h *handle) Read(p []byte) (int, error) {
	if h.s == nil {
		return 0, &fs.PathError{Op: "read", Path: h.file.name, Err: errors.New("is a directory")}
	}
	n, err := h.s.readAt(h.file, p, h.off)
	h.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Stat implements fs.File; a handle is its own fs.FileInfo.
func (h *handle) Stat() (fs.FileInfo, error) { return h, nil }

// Close implements fs.File.
func (h *handle) Close() error { return nil }

// Name implements fs.FileInfo.
func (h *handle) Name() string { return path.Base(h.file.name) }

// Size implements fs.FileInfo.
func (h *handle) Size() int64 { return h.file.bytes }

// Mode implements fs.FileInfo.
func (h *handle) Mode() fs.FileMode {
	if h.s == nil {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// ModTime implements fs.FileInfo.
func (h *handle) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo.
func (h *handle) IsDir() bool { return h.s == nil }

// Sys implements fs.FileInfo.
func (h *handle) Sys() any { return nil }

var _ io.ReaderAt = (*handle)(nil)
