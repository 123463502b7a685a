package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	testExperts      = 12
	testExpertLayers = 3 // of which the first has no experts
	testExpertDim    = 64
	testExpertWidth  = 96
)

func expertProfile() config.ModelProfile {
	moe := config.MoE{Experts: testExperts, TopK: 3, Width: testExpertWidth, Router: config.Router{Kind: config.RouterSoftmax}}
	return config.ModelProfile{
		Family: "m", VocabSize: 10, EmbedDim: testExpertDim, HiddenSize: testExpertDim, Layers: testExpertLayers, Heads: 2, KVHeads: 2, FFN: 32,
		NeuronParts: 3, MaxPositions: 10, Activation: config.SiLU, Norm: config.RMSNorm, NormEps: 1e-5, NormAffine: true, PreNorm: true,
		TiedHead: true, BOS: -1, PAD: -1, Kinds: []config.LayerKind{{}, {MoE: moe}}, KindOf: []int{0, 1, 1},
	}
}

// expertFixture is a model of experts, in a pack or in place.
type expertFixture struct {
	*pack.Pack
	file    *faultyFile
	store   *disk.DiskWeightStore
	experts [testExpertLayers][testExperts][3][]byte
}

// makeExperts draws the experts. The last layer's are larger.
func makeExperts(t testing.TB, inPlace bool, io config.IOMode) *expertFixture {
	t.Helper()
	f, p, path := &expertFixture{}, expertProfile(), filepath.Join(t.TempDir(), "m")
	rng := rand.NewChaCha8([32]byte{1})
	dtypes := [testExpertLayers][3]tensor.DType{{}, {tensor.Q8_0, tensor.Q8_0, tensor.Q8_0}, {tensor.F16, tensor.F16, tensor.F32}}
	for l := 1; l < p.Layers; l++ {
		for e := range testExperts {
			for i, x := range p.ExpertTensors(l) {
				b := make([]byte, int64(x.Rows)*dtypes[l][i].RowBytes(x.Cols))
				rng.Read(b)
				f.experts[l][e][i] = b
			}
		}
	}
	if inPlace {
		f.Pack = f.placed(t, path+".gguf", p, dtypes)
	} else {
		f.Pack = f.packed(t, path+".sflow", p, dtypes)
	}
	file, err := disk.OpenFile(f.Pack, io)
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

func (f *expertFixture) packed(t testing.TB, path string, p config.ModelProfile, dtypes [testExpertLayers][3]tensor.DType) *pack.Pack {
	types := map[string]tensor.DType{}
	for l := 1; l < p.Layers; l++ {
		for i, x := range p.ExpertTensors(l) {
			types[x.Name] = dtypes[l][i]
		}
	}
	w, err := pack.Create(path, pack.Spec{Profile: p, Name: "m", Attn: tensor.F16, MLP: tensor.F16, Types: types})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range w.Tensors() {
		if err := w.WriteTensor(x, make([]byte, x.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	for l := 1; l < p.Layers; l++ {
		for e := range testExperts {
			x, err := w.Expert(l, e)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range f.experts[l][e] {
				if _, err := x.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Commit(strings.Repeat("ab", 32)); err != nil {
		t.Fatal(err)
	}
	opened, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func (f *expertFixture) placed(t testing.TB, path string, p config.ModelProfile, dtypes [testExpertLayers][3]tensor.DType) *pack.Pack {
	types := map[tensor.DType]gguf.Type{tensor.F32: 0, tensor.F16: 1, tensor.Q8_0: 8}
	h := gguf.Header{Tensors: []gguf.Tensor{{Name: "odd", Shape: []int64{5}}}, Metadata: map[string]any{}}
	for l := 1; l < p.Layers; l++ {
		for i, x := range p.ExpertTensors(l) {
			h.Tensors = append(h.Tensors, gguf.Tensor{Name: x.Name, Shape: []int64{testExperts, int64(x.Rows), int64(x.Cols)}, Type: types[dtypes[l][i]]})
		}
	}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n, x := range h.Tensors[1:] {
		b = append(b, make([]byte, x.Offset-int64(len(b)))...)
		for e := range testExperts {
			b = append(b, f.experts[1+n/3][e][n%3]...)
		}
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	dir, name := filepath.Split(path)
	c, err := source.OpenGGUF(os.DirFS(dir), dir, name)
	if err != nil {
		t.Fatal(err)
	}
	s := pack.InPlace{Profile: p, Name: "m", Path: path, Dir: dir, Checkpoint: c, Experts: make([]arch.Experts, p.Layers)}
	for l := 1; l < p.Layers; l++ {
		for i, x := range p.ExpertTensors(l) {
			of, _ := c.Tensor(x.Name)
			for e := range testExperts {
				s.Experts[l].Parts[i] = append(s.Experts[l].Parts[i], arch.Slice{Tensor: of, First: int64(e * x.Rows), Step: 1})
			}
		}
	}
	opened, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// expertHarness is a coordinator of experts and all that it works with.
type expertHarness struct {
	*TransferCoordinator
	f      *expertFixture
	memory *memory.Memory
	chores []func()
	stats  Stats
}

func newExpertHarness(t interface{ Fatal(...any) }, f *expertFixture, slots []int, staging, workers int, overlap bool) *expertHarness {
	h := &expertHarness{f: f}
	m := Memory{
		Cache:   cache.NewWeightCache(testExperts, slots, func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) }),
		Staging: staging,
	}
	bytes := int64(0)
	for l, n := range slots {
		m.Strides = append(m.Strides, f.ExpertRoom(l))
		m.StagingStride = max(m.StagingStride, f.ExpertRoom(l))
		bytes += int64(n) * f.ExpertRoom(l)
	}
	bytes += int64(staging) * m.StagingStride
	mem, err := memory.New(memory.BufferBytes(bytes))
	if err != nil {
		t.Fatal(err)
	}
	h.memory = mem
	m.Slots = device.Slots{Data: mem.Buffer(bytes)}
	h.TransferCoordinator = NewTransferCoordinator(Options{
		Units: testExperts, Memory: m,
		Policy: Policy{Modes: slices.Repeat([]config.Mode{config.Gate}, testExpertLayers)},
		Reader: Reader{Transfer: disk.NewAsyncWeightTransfer(f.store, workers)},
		Overlap: func(do func()) {
			if h.chores = append(h.chores, do); !overlap {
				h.operate()
			}
		},
	})
	return h
}

func (h *expertHarness) operate() {
	for _, do := range h.chores {
		do()
	}
	h.chores = h.chores[:0]
}

func (h *expertHarness) close() {
	h.Close()
	h.fetcher.Transfer.Close()
	if err := h.memory.Close(); err != nil {
		panic(err)
	}
}

// pass computes a layer, and returns an error or what was wrong.
func (h *expertHarness) pass(layer int, decode bool, ids, guess []int32) error {
	step := Step{Decode: decode, Count: &h.stats}
	work := h.FetchExperts(step, layer, 1, ids)
	if guess != nil && layer+1 < testExpertLayers && h.Forecasts(step, layer+1) {
		h.operate()
		h.PrefetchExperts(step, layer+1, guess)
	}
	seen := make([]bool, len(ids))
	for seg := range work.Segments {
		if !slices.Equal(seg.Units.IDs, ids[seg.First:][:len(seg.Units.IDs)]) {
			return fmt.Errorf("wrong: got a segment of %v from %d on of %v", seg.Units.IDs, seg.First, ids)
		}
		for there, err := range seg.Arrivals {
			if err != nil {
				return err
			}
			h.operate()
			for _, i := range there {
				if seen[seg.First+int(i)] {
					return fmt.Errorf("wrong: expert %d came twice", seg.Units.IDs[i])
				}
				seen[seg.First+int(i)] = true
				for part, b := range seg.Parts(i) {
					if !bytes.Equal(b, h.f.experts[layer][seg.Units.IDs[i]][part]) {
						return fmt.Errorf("wrong: part %d of expert %d of layer %d has other bytes", part, seg.Units.IDs[i], layer)
					}
				}
			}
		}
	}
	if slices.Contains(seen, false) {
		return fmt.Errorf("wrong: of %v came %v", ids, seen)
	}
	return nil
}

// Whatever is cached, wherever it lies and however it is read, every expert that is
// wanted comes once and with its own bytes, before or after a fault.
func TestExperts(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		for _, mode := range []config.IOMode{config.IODirect, config.IOMmap} {
			t.Run(fmt.Sprintf("in place %v, %v", inPlace, mode), func(t *testing.T) {
				f := makeExperts(t, inPlace, mode)
				rapid.Check(t, func(t *rapid.T) { checkExperts(t, f) })
			})
		}
	}
}

func checkExperts(t *rapid.T, f *expertFixture) {
	slots := []int{0, rapid.IntRange(0, testExperts).Draw(t, "slots 1"), rapid.IntRange(0, testExperts).Draw(t, "slots 2")}
	staging := 2 * rapid.IntRange(1, 3).Draw(t, "half")
	h := newExpertHarness(t, f, slots, staging, rapid.IntRange(0, 2).Draw(t, "workers"), rapid.Bool().Draw(t, "overlap"))
	defer h.close()
	defer f.file.set(0)
	ids := rapid.Custom(func(t *rapid.T) []int32 {
		return rapid.SliceOfNDistinct(rapid.Int32Range(0, testExperts-1), 1, testExperts, rapid.ID[int32]).Draw(t, "ids")
	})
	wanted := int64(0)
	for range rapid.IntRange(1, 20).Draw(t, "passes") {
		layer := rapid.IntRange(1, testExpertLayers-1).Draw(t, "layer")
		want := slices.Sorted(slices.Values(ids.Draw(t, "wanted")))
		guess := ids.Draw(t, "guess")
		bad := rapid.IntRange(0, 5).Draw(t, "fault") == 0
		f.file.set(0)
		if bad {
			victim := rapid.IntRange(0, testExperts-1).Draw(t, "bad expert")
			// Of the layer or of the next, for which there is a guess.
			of := min(layer+rapid.IntRange(0, 1).Draw(t, "of the next"), testExpertLayers-1)
			f.file.set(0, f.ExpertOffset(of, rapid.IntRange(0, 2).Draw(t, "bad part"), victim)+7)
		}
		err := h.pass(layer, rapid.Bool().Draw(t, "decode"), want, guess)
		if err != nil && (!bad || strings.HasPrefix(err.Error(), "wrong:")) {
			t.Fatal(err)
		}
		if err == nil {
			wanted += int64(len(want))
		}
		if h.stats.Wanted < wanted || h.stats.Misses > h.stats.Wanted || h.stats.WantedBytes < h.stats.MissedBytes {
			t.Fatalf("got %+v after %d wanted", h.stats, wanted)
		}
	}
	f.file.set(0)
	h.overlap.finish()
	h.work.end()
	h.overlap.finish()
	h.fetcher.settle()
	if h.fetcher.pending != 0 || len(h.fetcher.early) != 0 {
		t.Fatalf("got %d reads and %d early ones left, want none", h.fetcher.pending, len(h.fetcher.early))
	}
	for l, n := range slots { // nothing is pinned
		all := make([]int32, n)
		for i := range all {
			all[i] = int32(i)
		}
		got := make([]int32, n)
		if grants := h.fetcher.Cache.Acquire(l, all, got, true, nil); slices.Contains(got, -1) {
			t.Fatalf("layer %d: got %v with %d grants, want slots for all", l, got, len(grants))
		}
		for _, s := range got {
			h.fetcher.Cache.Forget(l, s)
		}
		h.fetcher.Cache.Release(l, got, false)
	}
}

// A read that failed before anybody wanted the expert is made again.
func TestExpertFaultOfAGuess(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 4, 4}, 2, 1, false)
	defer h.close()
	f.file.set(0, f.ExpertOffset(2, 1, 5))
	if err := h.pass(1, true, []int32{3}, []int32{5}); err != nil {
		t.Fatal(err)
	}
	if len(h.fetcher.early) != 1 {
		t.Fatalf("got %d early reads, want 1", len(h.fetcher.early))
	}
	for _, e := range h.fetcher.early {
		if err := h.fetcher.inflight[e.slot].Wait(); err == nil {
			t.Fatal("got no error of a read that fails")
		}
	}
	f.file.set(0)
	if err := h.pass(2, true, []int32{5}, nil); err != nil {
		t.Errorf("got %v, want the expert once the disk reads again", err)
	}
}

// Guesses for the next layer leave alone what failed of those for this one, until it has
// been read again.
func TestExpertFaultOfAGuessIsKept(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 4, 4}, 2, 1, false)
	defer h.close()
	f.file.set(0, f.ExpertOffset(1, 1, 5))
	h.PrefetchExperts(Step{Decode: true, Count: &h.stats}, 1, []int32{5})
	for _, e := range h.fetcher.early {
		if err := h.fetcher.inflight[e.slot].Wait(); err == nil {
			t.Fatal("got no error of a read that fails")
		}
	}
	f.file.set(0)
	if err := h.pass(1, true, []int32{5}, []int32{3}); err != nil {
		t.Error(err)
	}
}

// A read error names the layer, the expert and the file, and the next pass reads again.
func TestExpertFault(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 4, 4}, 2, 1, false)
	defer h.close()
	f.file.set(0, f.ExpertOffset(2, 1, 5))
	err := h.pass(2, true, []int32{1, 5, 7}, nil)
	if err == nil || !strings.Contains(err.Error(), "expert 5 of layer 2") || !strings.Contains(err.Error(), f.Path()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want an error about expert 5 of layer 2 of %s", err, f.Path())
	}
	f.file.set(0)
	if err := h.pass(2, true, []int32{1, 5, 7}, nil); err != nil {
		t.Error(err)
	}
}

// Whatever is there is computed while the others arrive, and each late one as it comes.
func TestExpertsComeOneByOne(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 6, 6}, 2, 1, true)
	defer h.close()
	if err := h.pass(1, true, []int32{3}, nil); err != nil {
		t.Fatal(err)
	}
	f.file.set(20 * time.Millisecond)
	defer f.file.set(0)
	work := h.FetchExperts(Step{Decode: true, Count: &h.stats}, 1, 1, []int32{2, 3, 4})
	var got [][]int32
	for seg := range work.Segments {
		for there, err := range seg.Arrivals {
			if err != nil {
				t.Fatal(err)
			}
			h.operate()
			got = append(got, slices.Clone(there))
		}
	}
	if want := [][]int32{{1}, {0}, {2}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got arrivals %v, want %v", got, want)
	}
	if h.stats.Misses != 3 || h.stats.Wanted != 4 || h.stats.MissedBytes != 3*f.ExpertBytes(1) || h.stats.Stall == 0 {
		t.Errorf("got %+v, want 3 misses of 4 and a stall", h.stats)
	}
}

// A forecast's reads wait for those that are wanted, and what it brought is no read
// again.
func TestExpertForecast(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 6, 6}, 2, 1, false)
	defer h.close()
	if err := h.pass(1, true, []int32{0, 1, 2}, []int32{7, 5, 6, 4}); err != nil {
		t.Fatal(err)
	}
	if h.stats.Early != mostGuesses {
		t.Fatalf("got %d experts read early, want %d", h.stats.Early, mostGuesses)
	}
	read := h.fetcher.Transfer.BytesRead
	h.fetcher.settle()
	before := read()
	if err := h.pass(2, true, []int32{5, 6, 7}, nil); err != nil {
		t.Fatal(err)
	}
	if read() != before || h.stats.Misses != 6 || h.stats.Wasted != 0 {
		t.Errorf("got %d bytes read again and %+v, want none, 6 misses, none wasted", read()-before, h.stats)
	}
}

// Steps in a steady state allocate nothing.
func TestExpertAllocations(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 4, 4}, 2, 1, false)
	defer h.close()
	n := int32(0)
	step := Step{Decode: true, Count: &h.stats}
	ids, guess := make([]int32, 3), []int32{1, 2, 3}
	one := func() {
		n++
		for l := 1; l < testExpertLayers; l++ {
			for i := range ids {
				ids[i] = (n+int32(l))%8 + int32(i)
			}
			work := h.FetchExperts(step, l, 1, ids)
			if l+1 < testExpertLayers && h.Forecasts(step, l+1) {
				h.PrefetchExperts(step, l+1, guess)
			}
			for seg := range work.Segments {
				for there, err := range seg.Arrivals {
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range there {
						seg.Parts(i)
					}
				}
			}
		}
	}
	for range 200 {
		one()
	}
	if a := testing.AllocsPerRun(200, one); a > 2 { // the file's goroutines may
		t.Errorf("got %v allocations a step, want none", a)
	}
}

// What guesses are still reading into is no room for what is wanted, which then goes
// through staging slots, as few at a time as there are.
func TestExpertsBesideGuesses(t *testing.T) {
	f := makeExperts(t, true, config.IODirect)
	h := newExpertHarness(t, f, []int{0, 4, 4}, 2, 1, false)
	defer h.close()
	f.file.set(30 * time.Millisecond)
	defer f.file.set(0)
	h.PrefetchExperts(Step{Decode: true, Count: &h.stats}, 2, []int32{7, 8, 9})
	if h.stats.Early != 3 {
		t.Fatalf("got %d experts read early, want 3", h.stats.Early)
	}
	if err := h.pass(2, true, []int32{0, 1, 2, 3}, nil); err != nil {
		t.Fatal(err)
	}
	if h.stats.Wasted != 3 {
		t.Errorf("got %d read in vain, want 3", h.stats.Wasted)
	}
}
