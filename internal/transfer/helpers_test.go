package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testFFN    = 24
	testLayers = 2
	mostTokens = 70 // more than one word of want bits holds
)

// fixture is a pack with two layers of random neurons.
type fixture struct {
	*pack.Pack
	file    *faultyFile
	store   *disk.DiskWeightStore
	bundles [][][]byte // [layers][ffn], each a stride long
}

func makePack(t testing.TB) *fixture {
	t.Helper()
	profile := config.ModelProfile{
		Family: "opt", VocabSize: 10, EmbedDim: 16, HiddenSize: 16, Layers: testLayers, Heads: 2, KVHeads: 2, FFN: testFFN,
		NeuronParts: 2, LearnedPositions: true, MaxPositions: 10, PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm,
		NormEps: 1e-5, Bias: true, TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2},
	}
	path := filepath.Join(t.TempDir(), "m.sflow")
	w, err := pack.Create(path, pack.Spec{Profile: profile, Name: "m", Attn: tensor.F16, MLP: tensor.F16, Align: 512})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range w.Tensors() {
		if err := w.WriteTensor(x, make([]byte, x.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.NewChaCha8([32]byte{1})
	f := &fixture{}
	for l := range testLayers {
		all := make([]byte, testFFN*w.BundleStride())
		f.bundles = append(f.bundles, nil)
		for i := range int64(testFFN) {
			b := all[i*w.BundleStride():][:w.BundleStride()]
			rng.Read(b[:profile.BundleBytes(tensor.F16)])
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
	file, err := disk.OpenFile(f.Pack, config.IOMmap)
	if err != nil {
		t.Fatal(err)
	}
	f.file = &faultyFile{File: file}
	if f.store, err = disk.NewDiskWeightStore(f.Pack, f.file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.store.Close(), f.Pack.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// faultyFile fails to read the bytes at some offsets, takes its time, and can
// be held up.
type faultyFile struct {
	disk.File
	mu     sync.Mutex
	bad    map[int64]bool
	spoilt map[int64]bool // offsets of bytes that come wrong
	pause  time.Duration
	gate   sync.RWMutex // reads wait while somebody holds it
}

func (f *faultyFile) set(pause time.Duration, bad ...int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause, f.bad = pause, make(map[int64]bool)
	for _, off := range bad {
		f.bad[off] = true
	}
}

// spoil has a read over each of these offsets bring one wrong byte.
func (f *faultyFile) spoil(at ...int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoilt = make(map[int64]bool)
	for _, off := range at {
		f.spoilt[off] = true
	}
}

func (f *faultyFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	f.mu.Lock()
	pause, bad, end := f.pause, false, off
	for _, b := range bufs {
		end += int64(len(b))
	}
	for at := range f.bad {
		bad = bad || at >= off && at < end
	}
	f.mu.Unlock()
	time.Sleep(pause)
	if bad {
		return 0, syscall.EIO
	}
	n, err := f.File.ReadVec(bufs, off)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bufs {
		for at := range f.spoilt {
			if at >= off && at < off+int64(len(b)) {
				b[at-off] ^= 1
			}
		}
		off += int64(len(b))
	}
	return n, err
}

// setPredictor wants, for each token, the set whose number is its x[0], if
// asked for the layer x[1].
type setPredictor struct {
	sets [][]int32
	err  error
}

func (p *setPredictor) Scores(layer, tokens int, x, scores []float32) error {
	cols := len(x) / tokens
	if x[1] != float32(layer) {
		return fmt.Errorf("got layer %d, want %v", layer, x[1])
	}
	for i := range scores {
		scores[i] = -1
	}
	for t := range tokens {
		for _, id := range p.sets[int(x[t*cols])] {
			scores[t*testFFN+int(id)] = 1
		}
	}
	return p.err
}

// input is an x of a layer whose tokens want the sets.
func (p *setPredictor) input(layer int, sets ...[]int32) device.Act {
	x := device.NewAct(len(sets), 2)
	for t, s := range sets {
		x.Row(t)[0], x.Row(t)[1] = float32(len(p.sets)), float32(layer)
		p.sets = append(p.sets, s)
	}
	return x
}

// watchedLRU notes which neurons it is told were used.
type watchedLRU struct {
	*cache.LRU
	neuron   map[int]int // by slot
	used     []int32
	stubborn bool // evicts nothing
}

func (w *watchedLRU) Victim(evictable func(int) bool) int {
	if w.stubborn {
		return -1
	}
	return w.LRU.Victim(evictable)
}

func (w *watchedLRU) Insert(slot, neuron int) {
	w.neuron[slot] = neuron
	w.LRU.Insert(slot, neuron)
}

func (w *watchedLRU) Hit(slot int) {
	w.used = append(w.used, int32(w.neuron[slot]))
	w.LRU.Hit(slot)
}

// harness is a coordinator and all that it works with.
type harness struct {
	*TransferCoordinator
	f         *fixture
	setup     setup
	predictor *setPredictor
	policies  []*watchedLRU // [layers]
	chores    []func()      // what waits for the next operation
	stats     Stats
}

// setup says what a harness is made of.
type setup struct {
	slots       []int // [layers]
	staging     int
	activations int
	workers     int
	modes       []config.Mode // [layers]
	prompts     []config.Mode // [layers], nil: modes
	gap         int           // most neurons between two that are read together
	overlap     bool          // what can wait for the next operation does
	stubborn    bool          // nothing is evicted
	reorder     bool          // complete layers are moved
	places      [][]int32
}

func newHarness(f *fixture, s setup) *harness {
	h := &harness{f: f, setup: s, predictor: &setPredictor{}}
	policy := func(_, slots int) cache.EvictionPolicy {
		w := &watchedLRU{LRU: cache.NewLRU(slots), neuron: map[int]int{}, stubborn: s.stubborn}
		h.policies = append(h.policies, w)
		return w
	}
	n := s.staging
	for _, slots := range s.slots {
		n += slots
	}
	stride := f.BundleStride()
	o := Options{
		Units: testFFN,
		Memory: Memory{
			Cache: cache.NewWeightCache(testFFN, s.slots, policy),
			Slots: device.Slots{Data: make([]byte, int64(n)*stride), Stride: stride, DType: tensor.F16,
				Cols: f.Profile().HiddenSize, Parts: 2},
			Staging:     s.staging,
			Activations: s.activations,
		},
		Policy: Policy{
			Modes:     s.modes,
			Prompts:   s.prompts,
			Predictor: h.predictor,
			Selection: predict.Selection{Multiple: 1},
			Scores:    make([]float32, mostTokens*testFFN),
		},
		Reader: Reader{
			Transfer: disk.NewAsyncWeightTransfer(f.store, s.workers),
			Places:   s.places,
			Join:     func(_, gap, _ int64) bool { return gap <= int64(s.gap)*stride },
			Gaps:     make([]byte, 2*stride),
		},
		Overlap: func(do func()) {
			if h.chores = append(h.chores, do); !s.overlap {
				h.operate()
			}
		},
	}
	if s.reorder {
		o.Memory.Reorder = separate
	}
	h.TransferCoordinator = NewTransferCoordinator(o)
	return h
}

// step is a step of decoding or of a prompt, counted by the harness.
func (h *harness) step(decode bool) Step { return Step{Decode: decode, Count: &h.stats} }

// separate is Backend.Separate in the plain way, into other memory; where the
// bundles were there is nothing any more.
func separate(s device.Slots, first int, at []int32) device.Slots {
	row := s.DType.RowBytes(s.Cols)
	to := s
	to.Data, to.Stride, to.PartStride, to.First = make([]byte, len(at)*s.Parts*int(row)), row, int64(len(at))*row, int32(first)
	for id, slot := range at {
		for part := range s.Parts {
			copy(to.Vec(int32(first+id), part), s.Vec(int32(first)+slot, part))
		}
	}
	clear(s.Data[int64(first)*s.Stride:][:int64(len(at))*s.Stride])
	return to
}

// holds reports whether a slot of a layer, or of the ring, has a neuron's
// vectors.
func (h *harness) holds(layer int, slot, id int32) bool {
	s := h.fetcher.memory(layer)
	return bytes.HasPrefix(h.f.bundles[layer][id], slices.Concat(s.Vec(slot, 0), s.Vec(slot, 1)))
}

// operate is an operation, as far as the coordinator can tell.
func (h *harness) operate() {
	for _, do := range h.chores {
		do()
	}
	h.chores = h.chores[:0]
}

// close ends the coordinator and its transfer.
func (h *harness) close() {
	h.Close()
	h.fetcher.Transfer.Close()
}

// settle waits for everything under way but a Work.
func (h *harness) settle() {
	h.overlap.finish()
	h.fetcher.settle()
}

// bothPredicted is the modes of layers that both compute what is asked for.
var bothPredicted = []config.Mode{config.Predicted, config.Predicted}

// contents is the neurons of a layer that have a slot.
func (h *harness) contents(layer int) map[int32]int32 {
	slots := make([]int32, testFFN)
	in := make(map[int32]int32)
	grants := h.fetcher.Cache.Acquire(layer, h.fetcher.all, slots, false, nil)
	for i, s := range slots {
		if s >= 0 {
			in[int32(i)] = s
		}
	}
	for _, g := range grants { // was free
		h.fetcher.Cache.Forget(layer, slots[g])
		delete(in, g)
	}
	h.fetcher.Cache.Release(layer, slots, false)
	return in
}

// settled checks what must be true when nothing is under way: no slot is
// pinned, every neuron in the cache is there with its bytes, all other slots
// are free.
func (h *harness) settled(t rapid.TB) {
	t.Helper()
	h.settle()
	pending := 0
	for _, r := range h.fetcher.inflight {
		if r != nil {
			pending++
		}
	}
	if pending != h.fetcher.pending {
		t.Fatalf("got %d slots counted as being filled, want %d", h.fetcher.pending, pending)
	}
	for l := range testLayers {
		in := h.contents(l)
		for id, s := range in {
			if !h.holds(l, s, id) {
				t.Fatalf("neuron %d of layer %d is in slot %d without its bytes", id, l, s)
			}
			if h.pinned(l, s) {
				t.Fatalf("slot %d of layer %d, neuron %d, is still pinned", s, l, id)
			}
		}
		slots := make([]int32, testFFN)
		grants := h.fetcher.Cache.Acquire(l, h.fetcher.all, slots, false, nil)
		if got, want := len(in)+len(grants), h.fetcher.Cache.Slots(l); got != want {
			t.Fatalf("layer %d: got %d slots with a neuron or free, want %d", l, got, want)
		}
		for _, g := range grants {
			h.fetcher.Cache.Forget(l, slots[g])
		}
		h.fetcher.Cache.Release(l, slots, false)
	}
	for s, r := range h.fetcher.inflight {
		if r != nil {
			t.Fatalf("slot %d has a read on its way", s)
		}
	}
}

// pinned reports whether a slot is, since the cache panics when one that is
// not is released.
func (h *harness) pinned(layer int, slot int32) (yes bool) {
	defer func() { yes = recover() == nil }()
	h.fetcher.Cache.Release(layer, []int32{slot}, false)
	return
}

// union is the neurons that any of the sets wants, ascending.
func union(sets [][]int32) []int32 {
	ids := slices.Concat(sets...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// compute goes through a Work as a layer does and checks that it lists exactly
// the neurons of ids, each with its bytes when they are said to be there, and
// with the tokens that want it. It returns the error of the arrivals.
func (h *harness) compute(t rapid.TB, w *Work, layer int, sets [][]int32, ids []int32) error {
	t.Helper()
	var got []int32
	for seg := range w.Segments {
		u := seg.Units
		if n := len(u.IDs) * len(sets); n > max(h.setup.activations, len(sets)) || n == 0 {
			t.Fatalf("a segment of %d neurons x tokens, want 1 to %d", n, h.setup.activations)
		}
		seen := make([]bool, len(u.IDs))
		for there, err := range seg.Arrivals {
			if err != nil {
				return err
			}
			for _, i := range there {
				if seen[i] {
					t.Fatalf("neuron %d arrived twice", u.IDs[i])
				}
				seen[i] = true
				if !h.holds(layer, u.Slots[i], u.IDs[i]) {
					t.Fatalf("neuron %d of layer %d is not in slot %d as it should be", u.IDs[i], layer, u.Slots[i])
				}
			}
			h.operate()
		}
		for i, id := range u.IDs {
			if !seen[i] {
				t.Fatalf("neuron %d did not arrive", id)
			}
			if !h.holds(layer, u.Slots[i], id) {
				t.Fatalf("neuron %d of layer %d is not in slot %d when its segment is whole", id, layer, u.Slots[i])
			}
			for tok, set := range sets {
				if got, want := u.Wanted(i, tok), slices.Contains(set, id); got != want {
					t.Fatalf("neuron %d, token %d: got wanted %v, want %v", id, tok, got, want)
				}
			}
		}
		got = append(got, u.IDs...)
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("computed: got neurons %v, want %v", got, ids)
	}
	return nil
}

// poison fills the staging slots, so that only a new read can make their bytes
// right.
func (h *harness) poison() {
	staging := h.fetcher.Slots.Data[int64(h.fetcher.firstStaging)*h.fetcher.Slots.Stride:]
	for i := range staging {
		staging[i] = 0xee
	}
}
