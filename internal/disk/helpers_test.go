package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// Every test that starts a transfer ends it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a pack of random bytes and what they are.
type fixture struct {
	*pack.Pack
	tensors map[string][]byte
	bundles [][][]byte // [layers][ffn], each a stride long
}

// testProfile has matrices of one block and of two, every kind of vector, and
// bundles that with the least alignment are an odd number of sectors apart.
func testProfile() config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: 1700, EmbedDim: 160, HiddenSize: 160, Layers: 3, Heads: 2, KVHeads: 2, FFN: 40,
		NeuronParts: 2, LearnedPositions: true, MaxPositions: 30, PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm,
		NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true,
		BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// makePack writes a pack whose bundles start at multiples of align, of the
// file system's choice if 0.
func makePack(t testing.TB, align int64) *fixture {
	t.Helper()
	profile := testProfile()
	path := filepath.Join(t.TempDir(), "m.sflow")
	w, err := pack.Create(path, pack.Spec{Profile: profile, Name: "m", Attn: tensor.F32, MLP: tensor.F32, Align: align})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	f := &fixture{tensors: make(map[string][]byte)}
	for _, x := range w.Tensors() {
		b := make([]byte, x.Bytes())
		rng.Read(b)
		f.tensors[x.Name] = b
		if err := w.WriteTensor(x, b); err != nil {
			t.Fatal(err)
		}
	}
	for l := range profile.Layers {
		all := make([]byte, int64(profile.FFN)*w.BundleStride())
		f.bundles = append(f.bundles, nil)
		for i := range profile.FFN {
			b := all[int64(i)*w.BundleStride():][:w.BundleStride()]
			rng.Read(b[:profile.BundleBytes(tensor.F32)])
			f.bundles[l] = append(f.bundles[l], b)
		}
		if err := w.WriteBundles(l, 0, all); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(strings.Repeat("ab", 32)); err != nil {
		t.Fatal(err)
	}
	if f.Pack, err = pack.Open(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Pack.Close() })
	return f
}

// matrices are the pack's matrices.
func (f *fixture) matrices() []pack.Tensor {
	return slices.DeleteFunc(f.Tensors(), func(t pack.Tensor) bool { return t.Kind != pack.Matrix })
}

// block is what block b of x holds.
func (f *fixture) block(x pack.Tensor, b int) []byte {
	row, rows := x.Block(b)
	return f.tensors[x.Name][int64(row)*x.RowBytes:][:int64(rows)*x.RowBytes]
}

// damage changes the byte at off.
func (f *fixture) damage(t testing.TB, off int64) {
	t.Helper()
	w, err := os.OpenFile(f.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := make([]byte, 1)
	if _, err := w.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := w.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
}

// store opens a store over the pack's file, seen through wrap if not nil.
func (f *fixture) store(t testing.TB, file File) *DiskWeightStore {
	t.Helper()
	s, err := NewDiskWeightStore(f.Pack, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// eachFile runs a test over every way to read, each with a pack of its own.
func eachFile(t *testing.T, test func(t *testing.T, f *fixture, file File)) {
	for _, kind := range []string{"direct", "buffered", "mmap"} {
		t.Run(kind, func(t *testing.T) {
			f := makePack(t, 0)
			var file File
			err := errors.New("the file system refuses")
			switch kind {
			case "direct":
				d, ok := openDirect(f.Files(), bundleAlign(f.Pack))
				if !ok {
					t.Logf("DIRECT READS ARE NOT TESTED: the file system of %s has none", f.Path())
					t.SkipNow()
				}
				file, err = d, nil
			case "buffered":
				file, err = openBuffered(f.Files())
			case "mmap":
				file, err = openMapped(f.Files())
			}
			if err != nil {
				t.Fatal(err)
			}
			test(t, f, file)
		})
	}
}

// memory is n bytes of Memory.
func newMemory(t testing.TB, n int64) *memory.Memory {
	t.Helper()
	m, err := memory.New(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// slots is room for n bundles.
func (f *fixture) slots(t testing.TB, n int) device.Slots {
	size := int64(n) * f.BundleStride()
	return device.Slots{
		Data: newMemory(t, memory.BufferBytes(size)).Buffer(size), Stride: f.BundleStride(), DType: f.MLPDType(),
		Cols: f.Profile().HiddenSize, Parts: f.Profile().NeuronParts,
	}
}

// buffer is a buffer for any block of the pack.
func (f *fixture) buffer(t testing.TB) []byte {
	n := int64(0)
	for _, x := range f.Tensors() {
		n = max(n, BlockBuffer(x))
	}
	return newMemory(t, memory.BufferBytes(n)).Buffer(n)
}

// faultyFile is a file some of whose reads fail. Others may take their time.
type faultyFile struct {
	File
	err   error // of the reads that fail
	pause time.Duration

	mu      sync.Mutex
	fail    map[int64]int // how many more reads of the byte at an offset fail
	offsets []int64       // of all reads
	running int
}

func (f *faultyFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	end := off + size(bufs)
	f.mu.Lock()
	f.running++
	f.offsets = append(f.offsets, off)
	failed := false
	for at, left := range f.fail {
		if at >= off && at < end && left > 0 {
			f.fail[at]--
			failed = true
		}
	}
	f.mu.Unlock()
	time.Sleep(f.pause)
	defer func() {
		f.mu.Lock()
		f.running--
		f.mu.Unlock()
	}()
	if failed {
		n, _ := f.File.ReadVec(bufs[:len(bufs)/2], off) // as much as a failing disk may give
		return n, f.err
	}
	return f.File.ReadVec(bufs, off)
}

// busy is the number of reads that are running.
func (f *faultyFile) busy() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// mapped is the pack's file through its mapping, the quickest to read, with
// faults.
func (f *fixture) mapped(t testing.TB) *faultyFile {
	t.Helper()
	m, err := openMapped(f.Files())
	if err != nil {
		t.Fatal(err)
	}
	return &faultyFile{File: m, fail: make(map[int64]int)}
}

// wantIn reports an error that lacks one of the words.
func wantIn(t testing.TB, err error, words ...any) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %v", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), fmt.Sprint(w)) {
			t.Errorf("got error %q, want %v in it", err, w)
		}
	}
}

// eachQueue runs a test over every way that a transfer can have its reads
// done: a file, what to make of it, and how many workers.
func eachQueue(t *testing.T, test func(t *testing.T, f *fixture, file File, workers int)) {
	for _, kind := range []string{"synchronous", "pool", "buffered pool", "ring", "simulated"} {
		t.Run(kind, func(t *testing.T) {
			f := makePack(t, 0)
			workers := 4
			var file File
			var err error
			switch kind {
			case "synchronous":
				workers = 0
				file, err = openMapped(f.Files())
			case "pool":
				file, err = openMapped(f.Files())
			case "buffered pool":
				file, err = openBuffered(f.Files())
			case "ring":
				if file, err = OpenFile(f.Pack, config.IODirect); err == nil {
					if _, ok := file.(AsyncFile); !ok {
						file.Close()
						t.Logf("IO_URING IS NOT TESTED: the kernel, or the file system of %s, refuses", f.Path())
						t.SkipNow()
					}
				}
			case "simulated":
				file, err = OpenSim(f.Pack, SimSpec{IOPS: 1e6, BytesPerSecond: 1e10, Latency: 20 * time.Microsecond})
			}
			if err != nil {
				t.Fatal(err)
			}
			test(t, f, file, workers)
		})
	}
}

// fault is what happens to one request.
type fault int

const (
	fine  fault = iota
	short       // it brings a part, and no error
	slow        // it ends after others that came later
	broken
)

// faults decides what happens to each request.
type faults struct {
	mu   sync.Mutex
	next func(off, end int64) fault
}

func (f *faults) of(bufs [][]byte, off int64) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		return fine
	}
	return f.next(off, off+size(bufs))
}

// cut is the first part of bufs, as a short read fills them.
func cut(bufs [][]byte, align int64) [][]byte {
	half := size(bufs) / 2 / align * align
	if half == 0 {
		return bufs
	}
	var part [][]byte
	for _, b := range bufs {
		n := min(half, int64(len(b)))
		part = append(part, b[:n])
		if half -= n; half == 0 {
			break
		}
	}
	return part
}

// brokenFile is a File with faults.
type brokenFile struct {
	File
	*faults
}

func (f brokenFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	switch f.of(bufs, off) {
	case broken:
		return 0, syscall.EIO
	case short:
		return f.File.ReadVec(cut(bufs, f.Align()), off)
	case slow:
		time.Sleep(200 * time.Microsecond)
	}
	return f.File.ReadVec(bufs, off)
}

// brokenQueue is an AsyncFile with faults.
type brokenQueue struct {
	brokenFile
	queue AsyncFile

	mu   sync.Mutex
	held []heldEnd
}

// heldEnd is an outcome that has not been told yet.
type heldEnd struct {
	owner Owner
	n     int
	err   error
	polls int // to go
}

// proxy stands for a request's owner.
type proxy struct {
	q     *brokenQueue
	owner Owner
	fault fault
}

func (p *proxy) Ended(n int, err error) {
	switch p.fault {
	case broken:
		n, err = 0, syscall.EIO
	case slow:
		p.q.mu.Lock()
		defer p.q.mu.Unlock()
		p.q.held = append(p.q.held, heldEnd{p.owner, n, err, 3})
		return
	}
	p.owner.Ended(n, err)
}

func (b *brokenQueue) Submit(rs []*Request) {
	for _, r := range rs {
		p := &proxy{b, r.Owner, b.of(r.Bufs, r.Off)}
		q := &Request{Bufs: r.Bufs, Off: r.Off, Owner: p}
		if p.fault == short {
			q.Bufs = cut(q.Bufs, b.Align())
		}
		b.queue.Submit([]*Request{q})
	}
}

func (b *brokenQueue) Poll(wait bool) {
	b.mu.Lock()
	holding := len(b.held) > 0
	b.mu.Unlock()
	b.queue.Poll(wait && !holding)
	b.mu.Lock()
	var due, left []heldEnd
	for _, h := range b.held {
		if h.polls--; h.polls < 0 {
			due = append(due, h)
		} else {
			left = append(left, h)
		}
	}
	b.held = left
	b.mu.Unlock()
	for _, h := range due {
		h.owner.Ended(h.n, h.err)
	}
}

// withFaults is file with faults.
func withFaults(file File, f *faults) File {
	b := brokenFile{file, f}
	if q, ok := file.(AsyncFile); ok {
		return &brokenQueue{brokenFile: b, queue: q}
	}
	return b
}
