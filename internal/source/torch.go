package source

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxPickleBytes bounds data.pkl; a tensor takes some 120 bytes of it.
const maxPickleBytes = 64 << 20

// openTorch lists the tensors of a torch.save file; file is the path for errors.
func openTorch(r io.ReaderAt, size int64, file string) ([]*Tensor, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	program, err := a.pickle()
	if err != nil {
		return nil, err
	}
	stored, err := loadPickle(program)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	tensors := make([]*Tensor, len(stored))
	for i, s := range stored {
		t, err := a.tensor(s)
		if err != nil {
			return nil, fmt.Errorf("tensor %.200q: %w", s.name, err)
		}
		t.file, t.r = file, r
		tensors[i] = t
	}
	return tensors, nil
}

// An archive is the zip file that torch.save writes.
type archive struct {
	r       io.ReaderAt
	size    int64
	root    string // directory inside the zip that holds everything, with its slash
	entries map[string]*zip.File
}

func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	if err := checkZip(r, size); err != nil {
		return nil, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is unpacked
		return nil, fmt.Errorf("got a broken zip directory: %w", err)
	}
	a := &archive{r: r, size: size, entries: make(map[string]*zip.File, len(z.File))}
	for _, f := range z.File {
		if a.entries[f.Name] != nil {
			return nil, fmt.Errorf("got zip entry %.200q twice, want it once", f.Name)
		}
		a.entries[f.Name] = f
		if root, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(root, "/") == 1 && strings.HasSuffix(root, "/") {
			if a.root != "" {
				return nil, fmt.Errorf("got entries %.100q and %.100q, want one data.pkl", a.root+"data.pkl", f.Name)
			}
			a.root = root
		}
	}
	if a.root == "" {
		return nil, errors.New("got a zip file without <name>/data.pkl, want one written by torch.save")
	}
	return a, a.checkByteOrder()
}

// place returns where the bytes of an entry lie in the file.
func (a *archive) place(f *zip.File) (off, size int64, err error) {
	const encrypted = 1
	if f.Method != zip.Store || f.Flags&encrypted != 0 || f.CompressedSize64 != f.UncompressedSize64 {
		return 0, 0, fmt.Errorf("got zip entry %.200q compressed or encrypted (method %d, flags %#x), want it stored: unpack and save it again with torch.save",
			f.Name, f.Method, f.Flags)
	}
	off, err = f.DataOffset()
	if err != nil {
		return 0, 0, fmt.Errorf("zip entry %.200q: got a broken local header: %w", f.Name, err)
	}
	if off < 0 || off > a.size || f.UncompressedSize64 > uint64(a.size-off) {
		return 0, 0, fmt.Errorf("zip entry %.200q: got %d bytes at offset %d of a file of %d, want them inside the file",
			f.Name, f.UncompressedSize64, off, a.size)
	}
	return off, int64(f.UncompressedSize64), nil
}

// readEntry returns a whole small entry.
func (a *archive) readEntry(f *zip.File, maxBytes int64) ([]byte, error) {
	off, size, err := a.place(f)
	if err != nil {
		return nil, err
	}
	if size > maxBytes {
		return nil, fmt.Errorf("zip entry %.200q: got %d bytes, want at most %d", f.Name, size, maxBytes)
	}
	p := make([]byte, size)
	return p, readFull(a.r, p, off)
}

func (a *archive) pickle() ([]byte, error) {
	return a.readEntry(a.entries[a.root+"data.pkl"], maxPickleBytes)
}

// checkByteOrder refuses tensors from a big-endian machine. Files from before
// PyTorch 2.1 have no such entry and are taken for little-endian.
func (a *archive) checkByteOrder() error {
	f := a.entries[a.root+"byteorder"]
	if f == nil {
		return nil
	}
	order, err := a.readEntry(f, 64)
	if err != nil {
		return err
	}
	if s := strings.TrimSpace(string(order)); s != "little" {
		return fmt.Errorf("got byte order %q, want little", s)
	}
	return nil
}

// tensor places one unpickled tensor in the file.
func (a *archive) tensor(s storedTensor) (*Tensor, error) {
	f := a.entries[a.root+"data/"+s.storage.key]
	if f == nil {
		return nil, fmt.Errorf("got no zip entry %.200q, want the storage it is in", a.root+"data/"+s.storage.key)
	}
	off, size, err := a.place(f)
	if err != nil {
		return nil, err
	}
	elemBytes := dtypeBits(s.storage.dtype) / 8
	if s.storage.elements > size/elemBytes {
		return nil, fmt.Errorf("got a storage of %d bytes, want %d elements of %s", size, s.storage.elements, s.storage.dtype)
	}
	n, ok := elements(s.shape)
	if !ok {
		return nil, fmt.Errorf("got shape %s, want a product below 2^63", showInts(s.shape))
	}
	t := newTensor(s.name, s.storage.dtype, s.shape)
	if !contiguous(s.shape, s.strides) {
		if t.sizeBytes, ok = mul(n, elemBytes); !ok {
			return nil, fmt.Errorf("got shape %s, want a size in bytes below 2^63", showInts(s.shape))
		}
		t.err = fmt.Errorf("got a view of shape %s with strides %s, want it contiguous: save it again after .contiguous()",
			showInts(s.shape), showInts(s.strides))
		return t, nil
	}
	if n > 0 && n > s.storage.elements-s.offset {
		return nil, fmt.Errorf("got shape %s at offset %d of a storage of %d elements, want it inside",
			showInts(s.shape), s.offset, s.storage.elements)
	}
	t.sizeBytes = n * elemBytes
	if n > 0 {
		t.off = off + s.offset*elemBytes
	}
	return t, nil
}
