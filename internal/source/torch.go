package source

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// legacyStart is how files of torch.save began before PyTorch 1.6: with the
// pickled integer 0x1950a86a20f9469cfc6c.
const legacyStart = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// openTorch lists the tensors of a torch.save file; file is the path for errors.
func openTorch(r io.ReaderAt, size int64, file string) ([]*Tensor, error) {
	var start [len(legacyStart)]byte
	var stored []storedTensor
	var places map[string]place
	var err error
	if n, _ := r.ReadAt(start[:], 0); string(start[:n]) == legacyStart {
		stored, places, err = readLegacy(r, size)
	} else {
		stored, places, err = readArchive(r, size)
	}
	if err != nil {
		return nil, err
	}
	tensors := make([]*Tensor, len(stored))
	for i, s := range stored {
		t, err := s.place(places)
		if err != nil {
			return nil, fmt.Errorf("tensor %.200q: %w", s.name, err)
		}
		t.file, t.r = file, r
		tensors[i] = t
	}
	return tensors, nil
}

// A place is where a storage lies in a file.
type place struct{ off, bytes int64 }

// place places one unpickled tensor in the file.
func (s storedTensor) place(places map[string]place) (*Tensor, error) {
	if s.unlike != "" {
		return &Tensor{Name: s.name, Stored: s.unlike, err: fmt.Errorf("got %s, want a plain one", s.unlike)}, nil
	}
	at, ok := places[s.storage.key]
	if !ok {
		return nil, fmt.Errorf("got no storage %.200q, want the one it is in", s.storage.key)
	}
	storageBytes, ok := mul(s.storage.elements, dtypeBits(s.storage.dtype)/8)
	first, fits := mul(s.storage.first, dtypeBits(s.storage.dtype)/8)
	if !ok || !fits || first > at.bytes || storageBytes > at.bytes-first {
		return nil, fmt.Errorf("got a storage of %d bytes, want %d elements of %s", at.bytes, s.storage.elements, s.storage.dtype)
	}
	t := newTensor(s.name, s.dtype, s.shape)
	elemBytes := dtypeBits(s.dtype) / 8
	n, ok := elements(s.shape)
	if !ok {
		return nil, fmt.Errorf("got shape %s, want a product below 2^63", showInts(s.shape))
	}
	if t.sizeBytes, ok = mul(n, t.readBytes()); !ok {
		return nil, fmt.Errorf("got shape %s, want a size in bytes below 2^63", showInts(s.shape))
	}
	if n == 0 {
		return t, nil
	}
	have := storageBytes / elemBytes
	last, ok := lastElement(s.shape, s.strides)
	if !ok || s.offset >= have || last >= have-s.offset {
		return nil, fmt.Errorf("got shape %s with strides %s at offset %d of a storage of %d elements, want it inside",
			showInts(s.shape), showInts(s.strides), s.offset, have)
	}
	t.off = at.off + first + s.offset*elemBytes
	if !contiguous(s.shape, s.strides) {
		t.strides = s.strides
	}
	return t, nil
}

// lastElement is the distance, in elements, from the first element of a tensor
// to the last; ok is false if it does not fit an int64.
func lastElement(shape, strides []int64) (last int64, ok bool) {
	for i, d := range shape {
		step, ok := mul(d-1, strides[i])
		if !ok || last+step < 0 {
			return 0, false
		}
		last += step
	}
	return last, true
}

// readLegacy reads the format before PyTorch 1.6 (torch/serialization.py,
// _legacy_save): pickles one after the other, namely a magic number, a version,
// facts of the system, the dict and the storages' keys, and then each storage as
// its number of elements and its bytes.
func readLegacy(r io.ReaderAt, size int64) ([]storedTensor, map[string]place, error) {
	storages := make(map[string]*storage)
	u := newUnpickler(io.NewSectionReader(r, 0, size), func(id any) (any, error) {
		v, err := loadStorage(id)
		if s, ok := v.(*storage); ok && storages[s.key] == nil {
			storages[s.key] = s
		}
		return v, err
	})
	var parts [5]any
	for i := range parts {
		v, err := u.load()
		if err != nil {
			return nil, nil, fmt.Errorf("legacy format, pickle %d of %d: %w", i+1, len(parts), err)
		}
		parts[i] = v
	}
	if v := parts[1]; v != int64(1001) {
		return nil, nil, fmt.Errorf("legacy format: got version %v, want 1001", v)
	}
	if d, ok := parts[2].(*dict); ok {
		for _, e := range d.items {
			if e.key == "little_endian" && e.value == false {
				return nil, nil, errors.New("got byte order \"big\", want little")
			}
		}
	}
	stored, err := collectTensors(parts[3])
	if err != nil {
		return nil, nil, err
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, nil, fmt.Errorf("legacy format: got a %s after the tensors, want the list of storages", kindOf(parts[4]))
	}
	places := make(map[string]place, len(storages))
	off := u.at
	for _, k := range keys.items {
		key, _ := k.(string)
		s := storages[key]
		var count [8]byte
		if s == nil {
			return nil, nil, fmt.Errorf("legacy format: got storage %.80q, want only those that tensors are in", key)
		}
		if err := ReadFull(r, count[:], off); err != nil {
			return nil, nil, fmt.Errorf("legacy format: storage %.80q: %w", key, err)
		}
		off += int64(len(count))
		n, ok := mul(int64(binary.LittleEndian.Uint64(count[:])), dtypeBits(s.dtype)/8)
		if !ok || n > size-off {
			return nil, nil, fmt.Errorf("legacy format: storage %.80q: got %d bytes at offset %d of a file of %d, want them inside the file",
				key, n, off, size)
		}
		places[key] = place{off, n}
		off += n
	}
	return stored, places, nil
}

// readArchive reads the zip format.
func readArchive(r io.ReaderAt, size int64) ([]storedTensor, map[string]place, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, nil, err
	}
	program, err := a.readEntry(a.entries[a.root+"data.pkl"], maxPickleBytes)
	if err != nil {
		return nil, nil, err
	}
	value, err := newUnpickler(bytes.NewReader(program), loadStorage).load()
	var stored []storedTensor
	if err == nil {
		stored, err = collectTensors(value)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("data.pkl: %w", err)
	}
	places := make(map[string]place)
	for _, s := range stored {
		if s.unlike != "" {
			continue
		}
		f := a.entries[a.root+"data/"+s.storage.key]
		if f == nil {
			return nil, nil, fmt.Errorf("tensor %.200q: got no zip entry %.200q, want the storage it is in", s.name, a.root+"data/"+s.storage.key)
		}
		off, n, err := a.place(f)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %.200q: %w", s.name, err)
		}
		places[s.storage.key] = place{off, n}
	}
	return stored, places, nil
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
	return p, ReadFull(a.r, p, off)
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
