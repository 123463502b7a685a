package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A Pack is the open weights of a model: a pack file, or the files of others used
// in place, see [InPlace]. It says where everything is and what its checksum must
// be. It changes nothing after Open and may be used from many goroutines. It
// holds the files open for small verified reads; whoever reads at speed opens
// Files itself.
type Pack struct {
	path  string
	file  handle
	files []File
	*Layout
	blockCRC []uint32 // [blocks]
	unitCRC  []uint32 // of bundles, [layers, ffn], or of experts
}

// A File is one of those that a pack's bytes lie in. They count as one: offsets go
// on from each to the next, which starts at a multiple of a page.
type File struct {
	Path         string
	Start, Bytes int64       // offset of its first byte, and how many it has
	Info         fs.FileInfo // of a file used in place, when its header was read
}

// handle is the open file: the seam at which tests change bytes.
type handle interface {
	io.ReaderAt
	io.Closer
}

// Open opens the pack at path. It reads and checks the header and the tables
// alone: version, sizes, every tensor that the profile demands.
func Open(path string) (*Pack, error) {
	f, size, err := source.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	p, err := open(f, size, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

func open(f handle, size int64, path string) (*Pack, error) {
	h, err := source.ParseSafetensors(f, size, path)
	if err != nil {
		return nil, fmt.Errorf("pack: open: not a .sflow pack: %w", err)
	}
	l, err := readLayout(h)
	if err != nil {
		return nil, fmt.Errorf("pack: open %s: %w", path, err)
	}
	p := &Pack{path: path, file: f, Layout: l, files: []File{{Path: path, Bytes: size}}}
	if err := p.readTables(h.HeaderBytes); err != nil {
		return nil, err
	}
	return p, nil
}

// readLayout computes the layout that the header describes and holds the
// header's tensors, which tile the file, to it. From then on every offset and
// size of the layout lies inside the file.
func readLayout(h *source.SafetensorsHeader) (*Layout, error) {
	if err := checkVersion(h.Metadata); err != nil {
		return nil, err
	}
	d, err := describe(h)
	if err != nil {
		return nil, err
	}
	if d.profile.Layers > len(h.Entries) {
		return nil, fmt.Errorf("got %d tensors, want more for %d layers", len(h.Entries), d.profile.Layers)
	}
	l, err := newLayout(d)
	if err != nil {
		return nil, err
	}
	if h.HeaderBytes%pageBytes != 0 {
		return nil, fmt.Errorf("got a header of %d bytes, want a multiple of %d", h.HeaderBytes, pageBytes)
	}
	l.shift(h.HeaderBytes)
	return l, l.compare(h)
}

// readTables reads the checksums and checks them and the header.
func (p *Pack) readTables(headerBytes int64) error {
	header, err := p.read(0, headerBytes)
	if err != nil {
		return err
	}
	blocks, err := p.read(p.blocksOffset, 4*int64(p.blocks))
	if err != nil {
		return err
	}
	units, err := p.read(p.unitsOffset, 4*p.units())
	if err != nil {
		return err
	}
	head, err := p.read(p.headOffset, pageBytes)
	if err != nil {
		return err
	}
	p.blockCRC, p.unitCRC = parseTable(blocks), parseTable(units)
	return p.checkHead(p.path, header, blocks, units, head)
}

// read returns n bytes of the file, which the layout vouches for.
func (p *Pack) read(offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	if err := p.readInto(b, offset); err != nil {
		return nil, err
	}
	return b, nil
}

func (p *Pack) readInto(b []byte, offset int64) error {
	if err := source.ReadFull(p.file, b, offset); err != nil {
		return fmt.Errorf("pack: read %s: %w", p.path, err)
	}
	return nil
}

// Close closes the file. Nothing can be read afterwards.
func (p *Pack) Close() error { return p.file.Close() }

// Path is the path that the pack was opened by.
func (p *Pack) Path() string { return p.path }

// Files are those that its bytes lie in.
func (p *Pack) Files() []File { return slices.Clone(p.files) }

// Where is the file that has a byte, and the byte's offset there.
func (p *Pack) Where(off int64) (path string, at int64) {
	f := p.files[fileAt(p.files, off)]
	return f.Path, off - f.Start
}

// Checksums reports whether bundles and blocks are under checksums.
func (p *Pack) Checksums() bool { return !p.inPlace }

// Name is the name of the model, for people.
func (p *Pack) Name() string { return p.name }

// SourceSHA256 identifies the checkpoint that the pack was made from, or the state
// of the files used in place, in hexadecimal.
func (p *Pack) SourceSHA256() string { return p.source }

// BundleOffset is where bundle i of a layer starts in the file; bundle i+1
// follows at BundleStride.
func (p *Pack) BundleOffset(layer, i int) int64 { return p.bundleOffset(layer, i) }

// BundleCRC is the CRC-32C of bundle i of a layer, over its whole stride.
func (p *Pack) BundleCRC(layer, i int) uint32 { return p.unitCRC[layer*p.profile.FFN+i] }

// BlockCRC is the CRC-32C of one block of a resident tensor.
func (p *Pack) BlockCRC(t Tensor, block int) uint32 { return p.blockCRC[t.firstBlock+block] }

// CheckBundle checks the bytes read for one bundle, its whole stride.
func (p *Pack) CheckBundle(layer, i int, b []byte) error {
	if checksum(b) == p.BundleCRC(layer, i) { // without building the part's name
		return nil
	}
	part := bundlesName(layer) + ", neuron " + strconv.Itoa(i)
	return check(p.path, part, p.bundleOffset(layer, i), b, p.BundleCRC(layer, i))
}

// CheckBlock checks the bytes read for one block of a resident tensor.
func (p *Pack) CheckBlock(t Tensor, block int, b []byte) error {
	if checksum(b) == p.BlockCRC(t, block) {
		return nil
	}
	row, rows := t.Block(block)
	part := fmt.Sprintf("%s, rows %d to %d", t.Name, row, row+rows-1)
	offset, _ := t.blockSpan(block)
	return check(p.path, part, offset, b, p.BlockCRC(t, block))
}

// ReadTensor reads and checks a whole resident tensor. It is meant for small
// ones, such as vectors; large ones are read block by block.
func (p *Pack) ReadTensor(name string) ([]byte, error) {
	t, ok := p.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("pack: read %s: got no tensor %q, want one that the profile demands", p.path, name)
	}
	data := make([]byte, 0, t.Bytes())
	for b := range t.Blocks() {
		block, err := p.readBlock(t, b)
		if err != nil {
			return nil, err
		}
		data = append(data, block...)
	}
	return data, nil
}

// readBlock reads and checks one block of a resident tensor.
func (p *Pack) readBlock(t Tensor, b int) ([]byte, error) {
	data, err := p.read(t.blockSpan(b))
	if err != nil || p.inPlace {
		return data, err
	}
	return data, p.CheckBlock(t, b, data)
}

// ReadVector reads and checks a vector.
func (p *Pack) ReadVector(name string) ([]float32, error) {
	b, err := p.ReadTensor(name)
	if err != nil {
		return nil, err
	}
	t, _ := p.Tensor(name)
	if !t.flat || t.Kind == Tokenizer {
		return nil, fmt.Errorf("pack: read %s: got tensor %q of %s, want a vector of F32", p.path, name, t.DType)
	}
	v := make([]float32, t.Rows*t.Cols)
	tensor.Decode(v, b, t.Elem)
	return v, nil
}
