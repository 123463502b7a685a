package disk

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/sparseflow/sparseflow/internal/pack"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// DiskWeightStore reads the weights of one pack. Every bundle and every block
// of rows is checked against its CRC, where it has one, the first time it is read.
// Later reads are not checked: what they are to find is a damaged file, and the file has been
// found whole.
//
// Reads go straight to where the bytes are wanted: a bundle to its slot, a
// block to its buffer.
type DiskWeightStore struct {
	pack *pack.Pack
	file File
	made []fs.FileInfo // the files as they were when opened
	ffn  int64

	places [][]int32 // see Places

	bundleChecked []atomic.Uint32  // a bit per neuron or expert of the model
	blockChecked  []atomic.Uint32  // a bit per block of rows
	firstBlock    map[string]int64 // of each tensor, in blockChecked
	rows          sync.Pool        // of *[1][]byte, for ReadRow to allocate nothing

	Traffic // of reads that the caller waits for; a transfer has its own
}

// NewDiskWeightStore makes a store that reads p's weights through f, which it
// owns from now on, unless it returns an error.
func NewDiskWeightStore(p *pack.Pack, f File) (*DiskWeightStore, error) {
	if a := f.Align(); p.Bundles() > 0 && p.BundleStride()%a != 0 {
		return nil, fmt.Errorf("disk: open %s: got reads at multiples of %d, want at those of the bundles, which are %d bytes apart", p.Path(), a, p.BundleStride())
	}
	var made []fs.FileInfo
	for i, file := range p.Files() {
		st, err := f.Stat(i)
		if err != nil {
			return nil, fmt.Errorf("disk: open: %w", err)
		}
		made = append(made, st)
		if st.Size() != file.Bytes || file.Info != nil && !(os.SameFile(st, file.Info) && st.ModTime().Equal(file.Info.ModTime())) {
			return nil, fmt.Errorf("disk: open %s: got %d bytes modified %v, want the %d that its header was read from: the file changed while it was opened", file.Path, st.Size(), st.ModTime().UTC(), file.Bytes)
		}
	}
	places, err := readPlaces(p)
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	s := &DiskWeightStore{
		pack:          p,
		places:        places,
		file:          f,
		made:          made,
		ffn:           int64(p.Profile().FFN),
		bundleChecked: make([]atomic.Uint32, (p.Bundles()+p.Experts()+31)/32),
		firstBlock:    make(map[string]int64),
	}
	blocks := int64(0)
	for _, t := range p.Tensors() {
		s.firstBlock[t.Name] = blocks
		blocks += int64(t.Blocks())
	}
	s.blockChecked = make([]atomic.Uint32, (blocks+31)/32)
	if !p.Checksums() {
		for i := range s.blockChecked {
			s.blockChecked[i].Store(math.MaxUint32)
		}
	}
	return s, nil
}

// Pack is the pack that the store reads.
func (s *DiskWeightStore) Pack() *pack.Pack { return s.pack }

// Close closes the file.
func (s *DiskWeightStore) Close() error { return s.file.Close() }

// CheckUnchanged is an error if somebody has written to the files since they were
// opened: weights in memory and weights on disk would no longer be of one model.
func (s *DiskWeightStore) CheckUnchanged() error {
	for i, made := range s.made {
		st, err := s.file.Stat(i)
		if err != nil {
			return fmt.Errorf("disk: stat %s: %w", s.pack.Path(), err)
		}
		if st.Size() != made.Size() || !st.ModTime().Equal(made.ModTime()) {
			return fmt.Errorf("disk: %s: got %d bytes modified %v, want %d modified %v: the file changed while it was in use; start again",
				s.pack.Files()[i].Path, st.Size(), st.ModTime().UTC(), made.Size(), made.ModTime().UTC())
		}
	}
	return nil
}

// ReadBundles reads the len(dst) bundles of a layer from the first-th on, one
// into each of dst, whose length is the pack's bundle stride. Which neurons they
// are is for Places to say.
func (s *DiskWeightStore) ReadBundles(layer, first int, dst [][]byte) error {
	if err := s.read(dst, s.pack.BundleOffset(layer, first)); err != nil {
		return bundlesError(layer, first, len(dst), err)
	}
	for i, b := range dst {
		if err := s.checkBundle(layer, first+i, b); err != nil {
			return err
		}
	}
	return nil
}

func bundlesError(layer, first, n int, err error) error {
	return fmt.Errorf("disk: neurons %d to %d of layer %d: %w", first, first+n-1, layer, err)
}

// checkBundle checks a neuron's bundle if it is the first time that it is
// read.
func (s *DiskWeightStore) checkBundle(layer, neuron int, b []byte) error {
	n := int64(layer)*s.ffn + int64(neuron)
	if checked(s.bundleChecked, n) {
		return nil
	}
	if err := s.pack.CheckBundle(layer, neuron, b); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	setChecked(s.bundleChecked, n)
	return nil
}

// BlockBuffer is the size of a buffer that ReadBlock and ReadRow can use for
// any block of t.
func BlockBuffer(t pack.Tensor) int64 {
	return int64(min(t.BlockRows, t.Rows))*t.RowBytes + 2*memory.PageAlign
}

// ReadBlock reads block b of t into buf, which is page aligned and at least
// BlockBuffer(t) long, and returns the part of buf that holds it.
func (s *DiskWeightStore) ReadBlock(t pack.Tensor, b int, buf []byte) ([]byte, error) {
	row, rows := t.Block(b)
	part, data, off := s.span(buf, t.Offset+int64(row)*t.RowBytes, int64(rows)*t.RowBytes)
	if err := s.read([][]byte{part}, off); err != nil {
		return nil, blockError(t, b, err)
	}
	if err := s.checkBlock(t, b, data); err != nil {
		return nil, err
	}
	return data, nil
}

func blockError(t pack.Tensor, b int, err error) error {
	row, rows := t.Block(b)
	return fmt.Errorf("disk: rows %d to %d of %s: %w", row, row+rows-1, t.Name, err)
}

// checkBlock checks a block if it is the first time that it is read.
func (s *DiskWeightStore) checkBlock(t pack.Tensor, b int, data []byte) error {
	n := s.firstBlock[t.Name] + int64(b)
	if checked(s.blockChecked, n) {
		return nil
	}
	if err := s.pack.CheckBlock(t, b, data); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	setChecked(s.blockChecked, n)
	return nil
}

// ReadRow reads one row of t into buf, as ReadBlock does. The first row read
// of a block costs the whole block, since that is what is under a checksum.
func (s *DiskWeightStore) ReadRow(t pack.Tensor, row int, buf []byte) ([]byte, error) {
	b := row / t.BlockRows
	if !checked(s.blockChecked, s.firstBlock[t.Name]+int64(b)) {
		data, err := s.ReadBlock(t, b, buf)
		if err != nil {
			return nil, err
		}
		return data[int64(row%t.BlockRows)*t.RowBytes:][:t.RowBytes], nil
	}
	part, data, off := s.span(buf, t.Offset+int64(row)*t.RowBytes, t.RowBytes)
	bufs, ok := s.rows.Get().(*[1][]byte)
	if !ok {
		bufs = new([1][]byte)
	}
	bufs[0] = part
	err := s.read(bufs[:], off)
	bufs[0] = nil
	s.rows.Put(bufs)
	if err != nil {
		return nil, fmt.Errorf("disk: row %d of %s: %w", row, t.Name, err)
	}
	return data, nil
}

// span is the part of the aligned buf to read into, and from what offset of
// the file on, so that data is the n bytes at off.
func (s *DiskWeightStore) span(buf []byte, off, n int64) (part, data []byte, from int64) {
	a := s.file.Align()
	lo, hi := off/a*a, (off+n+a-1)/a*a
	return buf[:hi-lo], buf[off-lo:][:n:n], lo
}

// read reads and waits.
func (s *DiskWeightStore) read(bufs [][]byte, off int64) error {
	a := attempt{Request: Request{Bufs: bufs, Off: off}, bufs: bufs, off: off}
	for {
		if n, err := s.file.ReadVec(a.Bufs, a.Off); !a.next(s, &s.Traffic, n, err) {
			break
		}
	}
	return a.failure
}

func size(bufs [][]byte) (n int64) {
	for _, b := range bufs {
		n += int64(len(b))
	}
	return n
}

func checked(bits []atomic.Uint32, n int64) bool { return bits[n/32].Load()>>(n%32)&1 != 0 }

func setChecked(bits []atomic.Uint32, n int64) { bits[n/32].Or(1 << (n % 32)) }
