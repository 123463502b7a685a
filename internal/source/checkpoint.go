package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// A Checkpoint is the open weights of a model. It owns the open files, and thereby
// what its Tensors read; Close ends both.
type Checkpoint struct {
	files   []string // sorted, relative to the directory
	names   []string // sorted
	tensors map[string]*Tensor
	open    []io.Closer
	weights []WeightFile // without those of an index

	metadata map[string]any // of GGUF

	index  string    // the index's name; empty without one
	placed weightMap // what it says
}

// A reader lists the tensors of one weight file.
type reader func(r io.ReaderAt, size int64, file string) ([]*Tensor, error)

// A format is one way to lay a checkpoint out in files: one file stem.ext, or
// several beside an index.
type format struct {
	stem, ext string
	read      reader
}

// formats lists what Open understands, the preferred one first.
func formats() []format {
	return []format{
		{"model", "safetensors", openSafetensors},
		{"pytorch_model", "bin", openTorch},
	}
}

// Open opens the checkpoint at the root of fsys, reading headers only; name is
// the directory's path as errors shall show it. The files of fsys must
// implement [io.ReaderAt], as those of os.DirFS and embed.FS do.
func Open(fsys fs.FS, name string) (*Checkpoint, error) {
	d := directory{fsys: fsys, name: name}
	c := &Checkpoint{tensors: make(map[string]*Tensor)}
	var looked []string
	for _, f := range formats() {
		file := f.stem + "." + f.ext
		found, err := c.openFormat(d, f, file)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		if found {
			c.names = slices.Sorted(maps.Keys(c.tensors))
			slices.Sort(c.files)
			return c, nil
		}
		looked = append(looked, file, file+indexSuffix)
	}
	if _, err := fs.Stat(fsys, "."); err != nil {
		return nil, fmt.Errorf("source: open %s: %w", name, cause(err))
	}
	return nil, fmt.Errorf("source: open %s: got none of the files %s, want one of them%s",
		name, strings.Join(looked, ", "), otherWeights(fsys))
}

// otherWeights tells of weights in formats that are not read.
func otherWeights(fsys fs.FS) string {
	for _, pattern := range []string{"*.gguf", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx"} {
		if files, err := fs.Glob(fsys, pattern); err == nil && len(files) > 0 {
			return "; there is " + files[0] + ", which is not read"
		}
	}
	return ""
}

// indexSuffix ends the name of an index, which begins as the one file would be
// called.
const indexSuffix = ".index.json"

// openFormat opens a checkpoint of one format, if it is of that.
func (c *Checkpoint) openFormat(d directory, f format, file string) (found bool, err error) {
	if _, err := fs.Stat(d.fsys, file); !errors.Is(err, fs.ErrNotExist) {
		return true, c.readWeights(d, f.read, file)
	}
	if _, err := fs.Stat(d.fsys, file+indexSuffix); !errors.Is(err, fs.ErrNotExist) {
		return true, c.openShards(d, f.read, file+indexSuffix)
	}
	files, err := unindexed(d.fsys, f.stem, f.ext)
	if err != nil {
		return true, fmt.Errorf("source: open %s: %w", d.name, err)
	}
	for _, file := range files {
		if err := c.readWeights(d, f.read, file); err != nil {
			return true, err
		}
	}
	return len(files) > 0, nil
}

// Names lists the tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Tensor returns the tensor stored under name, if there is one.
func (c *Checkpoint) Tensor(name string) (*Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Files lists the files that make up the checkpoint, weights and index, sorted
// and relative to its directory.
func (c *Checkpoint) Files() []string { return slices.Clone(c.files) }

// A WeightFile is an open file that weights lie in.
type WeightFile struct {
	io.ReaderAt
	Name        string      // relative to the directory
	Info        fs.FileInfo // when it was opened
	HeaderBytes int64       // what precedes the weights, 0 where they have no such order
}

// WeightFiles are those that tensors lie in, sorted by name.
func (c *Checkpoint) WeightFiles() []WeightFile {
	return slices.SortedFunc(slices.Values(c.weights), func(a, b WeightFile) int { return strings.Compare(a.Name, b.Name) })
}

// Sample writes to w some bytes of the middle of each tensor, sorted by name: it
// tells checkpoints apart that are not equal by intent.
func (c *Checkpoint) Sample(w io.Writer) error {
	piece := make([]byte, samplePiece)
	for _, name := range c.names {
		t := c.tensors[name]
		if t.r == nil {
			continue // there, but nowhere in a file
		}
		n, err := t.r.ReadAt(piece[:min(samplePiece, t.sizeBytes)], t.off+max(0, t.sizeBytes-samplePiece)/2)
		if err != nil && err != io.EOF {
			return t.wrap(err)
		}
		if _, err := w.Write(piece[:n]); err != nil {
			return err
		}
	}
	return nil
}

// samplePiece is what Sample takes of a tensor: what a disk reads at once.
const samplePiece = 4096

// Close closes the files. Tensors cannot be read afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.open {
		errs = append(errs, f.Close())
	}
	c.open = nil
	return errors.Join(errs...)
}

// openShards opens the files that an index names. What they hold is listed,
// whatever the index says of it; of a tensor in several the last one counts, as
// in the transformers library. A file that is not there may hold nothing that
// anybody wants: Why tells of it.
func (c *Checkpoint) openShards(d directory, read reader, index string) (err error) {
	if c.placed, err = c.readIndex(d, index); err != nil {
		return err
	}
	c.index = index
	var missing error
	there := 0
	for _, shard := range c.placed.shards() {
		err := c.readWeights(d, read, shard)
		if errors.Is(err, fs.ErrNotExist) {
			missing = fmt.Errorf("%w (a shard that %s names)", err, index)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w (a shard that %s names)", err, index)
		}
		there++
	}
	if there == 0 {
		return missing
	}
	return nil
}

// Why says more of a tensor that is not there, for errors: where the index has
// it. It is empty if nothing is known.
func (c *Checkpoint) Why(name string) string {
	file, ok := c.placed[name]
	switch {
	case !ok:
		return ""
	case slices.Contains(c.files, file):
		return fmt.Sprintf("%s places it in %s, which lacks it: is that file from another model?", c.index, file)
	}
	return fmt.Sprintf("%s places it in %s, which is not there: download it", c.index, file)
}

// readWeights opens one weight file, which c then owns, and adds its tensors.
func (c *Checkpoint) readWeights(d directory, read reader, file string) error {
	r, info, err := c.openFile(d, file)
	if err != nil {
		return err
	}
	tensors, err := read(r, info.Size(), d.path(file))
	if err != nil {
		return fmt.Errorf("source: read %s: %w", d.path(file), err)
	}
	w := WeightFile{ReaderAt: r, Name: file, Info: info}
	for _, t := range tensors {
		if w.HeaderBytes == 0 || t.off < w.HeaderBytes {
			w.HeaderBytes = t.off
		}
	}
	c.weights = append(c.weights, w)
	for _, t := range tensors {
		t.in = file
		c.tensors[t.Name] = t
	}
	return nil
}

// openFile opens a regular file for random access and notes it in c.
func (c *Checkpoint) openFile(d directory, file string) (r io.ReaderAt, info fs.FileInfo, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("source: open %s: %w", d.path(file), cause(err))
		}
	}()
	// Before the file is opened, because opening a pipe would wait for a writer.
	if info, err = fs.Stat(d.fsys, file); err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("got a file of mode %v, want a regular one", info.Mode())
	}
	f, err := d.fsys.Open(file)
	if err != nil {
		return nil, nil, err
	}
	c.open = append(c.open, f)
	c.files = append(c.files, file)
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, nil, fmt.Errorf("got a %T, want a file that implements io.ReaderAt", f)
	}
	if isLFSPointer(r, info.Size()) {
		return nil, nil, errors.New("got a Git LFS pointer, want the file itself: run git lfs pull")
	}
	return r, info, nil
}

// cause drops the path that fsys knows a file by: errors show d.path instead.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// isLFSPointer recognises what a clone without Git LFS leaves in place of the
// weights (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
func isLFSPointer(r io.ReaderAt, size int64) bool {
	const start = "version https://git-lfs.github.com/spec/"
	if size < int64(len(start)) || size > 1024 {
		return false
	}
	p := make([]byte, len(start))
	return ReadFull(r, p, 0) == nil && bytes.Equal(p, []byte(start))
}

// A directory is a file system and what errors call it.
type directory struct {
	fsys fs.FS
	name string
}

// path is how errors show a file of the directory.
func (d directory) path(file string) string {
	if d.name == "" {
		return file
	}
	return strings.TrimSuffix(d.name, "/") + "/" + file
}
