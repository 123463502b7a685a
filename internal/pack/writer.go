package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

// A Writer makes one pack. Parts are written in any order, each exactly once,
// from any number of goroutines: a part is what has a checksum of its own, so
// no order is needed. Nothing shows under the final name before Commit.
type Writer struct {
	path string
	*Layout
	temp *os.File
	out  output

	mu        sync.Mutex
	err       error    // the first failure; the pack cannot be finished after it
	blockDone []bool   // [blocks]
	unitDone  []bool   // of bundles, [layers, ffn], or of experts
	blockCRC  []uint32 // as what is done
	unitCRC   []uint32
}

// output is the temporary file: the seam at which tests let writes fail.
type output interface {
	io.WriterAt
	io.Closer
	Sync() error
}

// writebackBytes is the least that is worth telling the kernel about.
const writebackBytes = 256 << 10

// Create starts the pack that is to be at path, in a temporary file beside it,
// and writes its tokenizer files; the caller writes all else. Temporary files that killed processes left
// there are removed. The caller must end with Commit or Abort.
func Create(path string, spec Spec) (*Writer, error) {
	w, err := create(path, spec)
	if err != nil {
		return nil, fmt.Errorf("pack: create %s: %w", path, err)
	}
	for _, t := range w.tensors {
		if t.Kind != Tokenizer {
			continue
		}
		if err := w.WriteTensor(t, spec.Tokenizer[strings.TrimPrefix(t.Name, tokenizerPrefix)]); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	return w, nil
}

func create(path string, spec Spec) (*Writer, error) {
	if err := atomicfile.Replaceable(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	sweepTemps(dir)
	f, err := createTemp(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{path: path, temp: f, out: newOutput(f)}
	if err := w.plan(spec); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// plan lays the file out and reserves its space.
func (w *Writer) plan(spec Spec) (err error) {
	if spec.Align == 0 {
		spec.Align = directAlign(w.temp)
	}
	if w.Layout, err = spec.Layout(); err != nil {
		return err
	}
	w.blockDone, w.blockCRC = make([]bool, w.blocks), make([]uint32, w.blocks)
	w.unitDone, w.unitCRC = make([]bool, w.units()), make([]uint32, w.units())
	return reserve(w.temp, w.size)
}

// WriteTensor writes a whole resident tensor.
func (w *Writer) WriteTensor(t Tensor, p []byte) error {
	if int64(len(p)) != t.Bytes() {
		return w.fail(fmt.Errorf("tensor %s: got %d bytes, want %d", t.Name, len(p), t.Bytes()))
	}
	for b := range t.Blocks() {
		offset, n := t.blockSpan(b)
		if err := w.WriteBlock(t, b, p[offset-t.Offset:][:n]); err != nil {
			return err
		}
	}
	return nil
}

// WriteBlock writes one block of a resident tensor.
func (w *Writer) WriteBlock(t Tensor, block int, p []byte) error {
	offset, n := t.blockSpan(block)
	if block < 0 || block >= t.Blocks() || int64(len(p)) != n {
		return w.fail(fmt.Errorf("tensor %s, block %d of %d: got %d bytes, want %d", t.Name, block, t.Blocks(), len(p), n))
	}
	crc := checksum(p)
	if err := w.claim(t.Name, w.blockDone, w.blockCRC, t.firstBlock+block, []uint32{crc}); err != nil {
		return err
	}
	return w.write(t.Name, offset, p)
}

// WriteBundles writes consecutive bundles of a layer from neuron first on, each
// BundleStride bytes with zeros after its weights.
func (w *Writer) WriteBundles(layer, first int, p []byte) error {
	name := bundlesName(layer)
	stride, ffn := int(w.stride), w.profile.FFN
	n := len(p) / stride
	if layer < 0 || layer >= w.profile.Layers || first < 0 || first+n > ffn || n*stride != len(p) || !w.profile.Sparse() {
		return w.fail(fmt.Errorf("%s: got %d bytes from neuron %d on, want bundles of %d bytes up to neuron %d",
			name, len(p), first, stride, ffn-1))
	}
	used := int(w.profile.BundleBytes(w.mlp))
	crcs := make([]uint32, n)
	for i := range crcs {
		b := p[i*stride : (i+1)*stride]
		if err := checkZero(w.path, name, w.bundleOffset(layer, first+i)+int64(used), b[used:]); err != nil {
			return w.fail(err)
		}
		crcs[i] = checksum(b)
	}
	if err := w.claim(name, w.unitDone, w.unitCRC, layer*ffn+first, crcs); err != nil {
		return err
	}
	return w.write(name, w.bundleOffset(layer, first), p)
}

// claim notes the checksums of parts from index at on, each once.
func (w *Writer) claim(name string, done []bool, table []uint32, at int, crcs []uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	for i, crc := range crcs {
		if done[at+i] {
			w.err = fmt.Errorf("pack: write %s: %s: got a part twice, want each once", w.path, name)
			return w.err
		}
		done[at+i], table[at+i] = true, crc
	}
	return nil
}

func (w *Writer) write(name string, offset int64, p []byte) error {
	if _, err := w.out.WriteAt(p, offset); err != nil {
		return w.fail(fmt.Errorf("%s: %w", name, err))
	}
	if len(p) >= writebackBytes {
		startWriteback(w.temp, offset, int64(len(p)))
	}
	return nil
}

// fail notes the first failure and returns it.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fmt.Errorf("pack: write %s: %w", w.path, err)
	}
	return w.err
}

// Commit finishes the pack and gives it its name, in place of what had it
// before. sourceSHA256 identifies the checkpoint, in lower-case hexadecimal.
// The calls that wrote parts must have returned. After an error the temporary
// file is gone.
func (w *Writer) Commit(sourceSHA256 string) error {
	if err := w.commit(sourceSHA256); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.out.Close()
}

func (w *Writer) commit(source string) error {
	if w.err != nil {
		return w.err
	}
	if err := w.complete(); err != nil {
		return w.fail(err)
	}
	header, err := w.header(source)
	if err != nil {
		return w.fail(err)
	}
	blocks, units := putTable(w.blockCRC), putTable(w.unitCRC)
	head := make([]uint32, pageBytes/4)
	head[0], head[1], head[2] = checksum(header), checksum(blocks), checksum(units)
	for _, part := range []struct {
		name   string
		offset int64
		bytes  []byte
	}{
		{blocksTable, w.blocksOffset, blocks},
		{w.unitsTable(), w.unitsOffset, units},
		{headTable, w.headOffset, putTable(head)},
		{"the header", 0, header},
	} {
		if err := w.write(part.name, part.offset, part.bytes); err != nil {
			return err
		}
	}
	if err := atomicfile.Commit(w.out.Sync, w.temp.Name(), w.path); err != nil {
		return w.fail(err)
	}
	return nil
}

// complete reports the first part that nobody wrote.
func (w *Writer) complete() error {
	for _, t := range w.tensors {
		if i := slices.Index(w.blockDone[t.firstBlock:t.firstBlock+t.Blocks()], false); i >= 0 {
			return fmt.Errorf("tensor %s: got no block %d, want all %d written", t.Name, i, t.Blocks())
		}
	}
	switch i := slices.Index(w.unitDone, false); {
	case i >= 0 && w.experts.number > 0:
		layer := 0
		for layer+1 < len(w.experts.before) && w.experts.before[layer+1] <= i {
			layer++
		}
		return fmt.Errorf("%s: got no expert %d, want all %d written", expertsName(layer), i-w.experts.before[layer], w.profile.MoE(layer).Experts)
	case i >= 0:
		return fmt.Errorf("%s: got no neuron %d, want all %d written", bundlesName(i/w.profile.FFN), i%w.profile.FFN, w.profile.FFN)
	}
	return nil
}

// Abort gives up and removes the temporary file.
func (w *Writer) Abort() error {
	// Removed first: a closed file has no lock and may be swept.
	err := os.Remove(w.temp.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil // renamed before the directory could not be synced
	}
	return errors.Join(err, w.out.Close())
}
