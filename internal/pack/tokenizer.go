package pack

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Tokenizer is the pack's tokenizer files as a directory. A file is read, and
// checked, when it is opened; it stays readable after the pack is closed.
func (p *Pack) Tokenizer() fs.FS { return tokenizerFS{p} }

type tokenizerFS struct{ p *Pack }

// Open opens a file, or the directory itself as ".".
func (t tokenizerFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &tokenizerDir{entries: t.entries()}, nil
	}
	x, ok := t.p.Tensor(tokenizerPrefix + name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	b, err := t.p.ReadTensor(x.Name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &tokenizerFile{Reader: bytes.NewReader(b), info: fileInfo{name, x.Bytes(), 0o444}}, nil
}

func (t tokenizerFS) entries() (list []fs.DirEntry) {
	for _, x := range t.p.tensors {
		if name, ok := strings.CutPrefix(x.Name, tokenizerPrefix); ok {
			list = append(list, fs.FileInfoToDirEntry(fileInfo{name, x.Bytes(), 0o444}))
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

type tokenizerFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *tokenizerFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *tokenizerFile) Close() error               { return nil }

type tokenizerDir struct{ entries []fs.DirEntry }

func (d *tokenizerDir) Stat() (fs.FileInfo, error) { return fileInfo{".", 0, fs.ModeDir | 0o555}, nil }
func (d *tokenizerDir) Close() error               { return nil }
func (d *tokenizerDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

func (d *tokenizerDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	list := d.entries[:n]
	d.entries = d.entries[n:]
	return list, nil
}

type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
