package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// InPlace is what a pack of files as they are is made of.
type InPlace struct {
	Profile config.ModelProfile
	Name    string // of the model, for people
	Path    string // that the model is called by
	Dir     string // that the checkpoint's files lie in
	// Checkpoint is open, and the pack's from then on unless there is an error.
	Checkpoint *source.Checkpoint
	Tensors    []Placed
	Experts    []arch.Experts // as a mapping has them
	// TokenizerBytes is about the size of what the tokenizer is read from.
	TokenizerBytes int64
	// Config is what the profile was read from, where that is no weight file.
	Config []byte
}

// Placed is a tensor of the checkpoint by the name that a pack has for it.
type Placed struct {
	Name   string
	Vector bool
	Tensor *source.Tensor
}

// ErrNotInPlace is the cause of an error about weights that can be packed but not
// be used as they lie: a tensor is not stored row after row in a type of package
// tensor.
var ErrNotInPlace = errors.New("it cannot be used in place")

// Open makes the pack. It has neither bundles nor checksums.
func (s InPlace) Open() (*Pack, error) {
	l := &Layout{byName: make(map[string]int)}
	l.profile, l.name, l.inPlace, l.tokenizerBytes = s.Profile, s.Name, true, s.TokenizerBytes
	// There are no bundles; whoever sizes something by one gets float16's.
	l.attn, l.mlp = tensor.F16, tensor.F16
	l.stride = alignUp(s.Profile.BundleBytes(l.mlp), sectorBytes)
	p := &Pack{path: s.Path, Layout: l}
	starts := make(map[string]int64)
	readers := inPlaceFile{Closer: s.Checkpoint}
	state := sha256.New()
	for _, f := range s.Checkpoint.WeightFiles() {
		path := filepath.Join(s.Dir, filepath.FromSlash(f.Name))
		starts[f.Name] = l.size
		p.files = append(p.files, File{Path: path, Start: l.size, Bytes: f.Info.Size(), Info: f.Info})
		readers.files = append(readers.files, f)
		l.size = alignUp(l.size+f.Info.Size(), pageBytes)
		inode, changed := source.Identity(f.Info)
		fmt.Fprintf(state, "%q %d %d %d\n", f.Name, f.Info.Size(), inode, changed.UnixNano())
		if _, err := io.Copy(state, io.NewSectionReader(f, 0, f.HeaderBytes)); err != nil {
			return nil, fmt.Errorf("pack: read %s: %w", path, err)
		}
	}
	state.Write(s.Config)
	l.source = hex.EncodeToString(state.Sum(nil))
	for _, x := range s.Tensors {
		if err := l.place(x, starts); err != nil {
			return nil, fmt.Errorf("pack: open %s: %w", p.path, err)
		}
	}
	if err := l.layInPlace(s.Experts, starts); err != nil {
		return nil, fmt.Errorf("pack: open %s: %w", p.path, err)
	}
	readers.starts = p.files
	p.file = readers
	return p, nil
}

// place adds a tensor where it lies.
func (l *Layout) place(x Placed, starts map[string]int64) error {
	file, off, ok := x.Tensor.Place()
	start, known := starts[file]
	if !ok || !known || len(x.Tensor.Shape) == 0 {
		return fmt.Errorf("tensor %q of %s: %w", x.Tensor.Name, x.Tensor.Stored, ErrNotInPlace)
	}
	t := Tensor{Name: x.Name, Kind: Matrix, DType: x.Tensor.Stored, Elem: x.Tensor.DType, Offset: start + off, Rows: 1, flat: x.Vector}
	if x.Vector {
		t.Kind = Vector
	}
	last := len(x.Tensor.Shape) - 1
	t.Cols = int(x.Tensor.Shape[last])
	for _, n := range x.Tensor.Shape[:last] {
		t.Rows *= int(n)
	}
	if x.Vector {
		t.Rows, t.Cols = 1, t.Rows*t.Cols
	}
	t.RowBytes = t.Elem.RowBytes(t.Cols)
	if t.Cols%t.Elem.BlockElems() != 0 || t.Bytes() != x.Tensor.Bytes() || t.RowBytes == 0 {
		return fmt.Errorf("tensor %q of %s with rows of %d elements: %w", x.Tensor.Name, x.Tensor.Stored, t.Cols, ErrNotInPlace)
	}
	t.BlockRows = int(max(1, blockBytes/t.RowBytes))
	t.firstBlock = l.blocks
	l.blocks += t.Blocks()
	l.byName[t.Name] = len(l.tensors)
	l.tensors = append(l.tensors, t)
	return nil
}

// inPlaceFile reads files used in place as one.
type inPlaceFile struct {
	io.Closer
	files  []source.WeightFile
	starts []File
}

// ReadAt reads of the file that has the byte at off.
func (f inPlaceFile) ReadAt(b []byte, off int64) (int, error) {
	i := fileAt(f.starts, off)
	return f.files[i].ReadAt(b, off-f.starts[i].Start)
}

// fileAt is the index of the file that has the byte at off, the last where none has.
func fileAt(files []File, off int64) int {
	i := len(files) - 1
	for i > 0 && off < files[i].Start {
		i--
	}
	return i
}
