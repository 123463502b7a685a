package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// A Checkpoint is an open model directory. It owns the open files, and thereby
// what its Tensors read; Close ends both.
type Checkpoint struct {
	files   []string // sorted, relative to the directory
	names   []string // sorted
	tensors map[string]*Tensor
	open    []io.Closer
}

// A format is one way to lay a checkpoint out in files.
type format struct {
	file    string // what marks the format: the weights, or their index
	sharded bool   // file is an index
	read    func(r io.ReaderAt, size int64, file string) ([]*Tensor, error)
}

// formats lists what Open understands, the preferred one first.
func formats() []format {
	return []format{
		{"model.safetensors", false, openSafetensors},
		{"model.safetensors.index.json", true, openSafetensors},
		{"pytorch_model.bin", false, openTorch},
		{"pytorch_model.bin.index.json", true, openTorch},
	}
}

// Open opens the checkpoint at the root of fsys, reading headers only; name is
// the directory's path as errors shall show it. The files of fsys must
// implement [io.ReaderAt], as those of os.DirFS and embed.FS do.
func Open(fsys fs.FS, name string) (*Checkpoint, error) {
	var looked []string
	for _, f := range formats() {
		_, err := fs.Stat(fsys, f.file)
		if errors.Is(err, fs.ErrNotExist) {
			looked = append(looked, f.file)
			continue
		}
		c := &Checkpoint{tensors: make(map[string]*Tensor)}
		d := directory{fsys: fsys, name: name}
		if f.sharded {
			err = c.openShards(d, f)
		} else {
			err = c.openSingle(d, f)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		slices.Sort(c.names)
		slices.Sort(c.files)
		return c, nil
	}
	if _, err := fs.Stat(fsys, "."); err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", name, cause(err))
	}
	return nil, fmt.Errorf("checkpoint: open %s: got none of the files %s, want one of them",
		name, strings.Join(looked, ", "))
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

// Close closes the files. Tensors cannot be read afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.open {
		errs = append(errs, f.Close())
	}
	c.open = nil
	return errors.Join(errs...)
}

func (c *Checkpoint) openSingle(d directory, f format) error {
	tensors, err := c.readWeights(d, f, f.file)
	if err != nil {
		return err
	}
	for _, t := range tensors {
		c.add(t)
	}
	return nil
}

func (c *Checkpoint) openShards(d directory, f format) error {
	weightMap, err := c.readIndex(d, f.file)
	if err != nil {
		return err
	}
	for _, shard := range weightMap.shards() {
		tensors, err := c.readWeights(d, f, shard)
		if err != nil {
			return fmt.Errorf("%w (a shard that %s names)", err, f.file)
		}
		for _, t := range tensors {
			if weightMap[t.Name] == shard {
				c.add(t)
			}
		}
	}
	for _, name := range weightMap.tensors() {
		if c.tensors[name] == nil {
			return fmt.Errorf("checkpoint: read %s: got no tensor %.200q, which %s places there: is the file from another model?",
				d.path(weightMap[name]), name, f.file)
		}
	}
	return nil
}

func (c *Checkpoint) add(t *Tensor) {
	c.tensors[t.Name] = t
	c.names = append(c.names, t.Name)
}

// readWeights opens one weight file, which c then owns, and lists its tensors.
// No two of them have the same name: both readers refuse that.
func (c *Checkpoint) readWeights(d directory, f format, file string) ([]*Tensor, error) {
	r, size, err := c.openFile(d, file)
	if err != nil {
		return nil, err
	}
	tensors, err := f.read(r, size, d.path(file))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", d.path(file), err)
	}
	return tensors, nil
}

// openFile opens a regular file for random access and notes it in c.
func (c *Checkpoint) openFile(d directory, file string) (io.ReaderAt, int64, error) {
	r, size, err := c.openRegular(d, file)
	if err != nil {
		return nil, 0, fmt.Errorf("checkpoint: open %s: %w", d.path(file), cause(err))
	}
	return r, size, nil
}

func (c *Checkpoint) openRegular(d directory, file string) (io.ReaderAt, int64, error) {
	// Before the file is opened, because opening a pipe would wait for a writer.
	info, err := fs.Stat(d.fsys, file)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("got a file of mode %v, want a regular one", info.Mode())
	}
	f, err := d.fsys.Open(file)
	if err != nil {
		return nil, 0, err
	}
	c.open = append(c.open, f)
	c.files = append(c.files, file)
	if info, err = f.Stat(); err != nil {
		return nil, 0, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, 0, fmt.Errorf("got a %T, want a file that implements io.ReaderAt", f)
	}
	if isLFSPointer(r, info.Size()) {
		return nil, 0, errors.New("got a Git LFS pointer, want the file itself: run git lfs pull")
	}
	return r, info.Size(), nil
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
	return readFull(r, p, 0) == nil && bytes.Equal(p, []byte(start))
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
