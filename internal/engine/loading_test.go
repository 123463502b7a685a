package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// heldFile lets nobody read a tensor until it is released, and then fails with
// err if there is one.
type heldFile struct {
	disk.File
	first, end int64
	release    func()
	released   chan struct{}
	err        error
}

func (h *heldFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	end := off
	for _, b := range bufs {
		end += int64(len(b))
	}
	if off < h.end && end > h.first {
		<-h.released
		if h.err != nil {
			return 0, h.err
		}
	}
	return h.File.ReadVec(bufs, off)
}

// hold opens path's pack for an engine that cannot read a tensor for now.
func hold(t *testing.T, path, tensor string) (*pack.Pack, *heldFile) {
	t.Helper()
	p, f := openDirect(t, path)
	x, ok := p.Tensor(tensor)
	if !ok {
		t.Fatalf("got no tensor %s", tensor)
	}
	h := &heldFile{File: f, released: make(chan struct{})}
	h.release = sync.OnceFunc(func() { close(h.released) })
	h.holds(x.Offset, x.Bytes())
	return p, h
}

// holds is which bytes it does not read.
func (h *heldFile) holds(off, n int64) { h.first, h.end = off, off+n }

// lastMatrix is the last matrix of tiny that is loaded.
const lastMatrix = "layers.5.attn.o.weight"

// A model that is opened early computes its first layers while the last are still
// to be read, and gives what it gives otherwise.
func TestEarlyOpen(t *testing.T) {
	path := tinyPack(t)
	counts := profiled(t, path, prompt(4096, 90))
	ids := prompt(4096, 20)
	s := strategy(config.Predicted, 0.8)
	want := outcomeOf(t, open(t, path, engine.Options{Strategy: s, Counts: counts}), ids, 1)
	if want.stats.Loading != 0 {
		t.Errorf("opened and then asked: got %v waiting to be loaded, want none", want.stats.Loading)
	}

	p, file := hold(t, path, lastMatrix)
	late := time.AfterFunc(time.Minute, func() {
		t.Error("the first layer is not computed before the last is read")
		file.release()
	})
	var done, total int64
	e, err := engine.Open(t.Context(), p, engine.Options{
		Strategy: s, Counts: counts, File: file, Early: true,
		Observe: func(layer, _ int, _ device.Work, _ []float32) {
			if layer == 0 {
				file.release()
			}
		},
		Progress: func(d, all int64) { done, total = d, all },
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	got := outcomeOf(t, e, ids, 1)
	took := time.Since(begin)
	late.Stop()
	if got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
		t.Errorf("got %x %v, want %x %v", got.logits, got.ids, want.logits, want.ids)
	}
	// What a start reads is no request's.
	if got.stats.Misses != want.stats.Misses || got.stats.SlowBytes != want.stats.SlowBytes || got.stats.Reads != want.stats.Reads {
		t.Errorf("got %d misses, %d bytes, %d reads, want %d, %d, %d", got.stats.Misses, got.stats.SlowBytes, got.stats.Reads,
			want.stats.Misses, want.stats.SlowBytes, want.stats.Reads)
	}
	if s := got.stats; s.Loading <= 0 || s.Loading+s.Prefill > took {
		t.Errorf("got %v waiting to be loaded and %v for the prompt within %v, want some, and as a part of its own", s.Loading, s.Prefill, took)
	}
	if again := outcomeOf(t, e, ids, 1); again.logits != want.logits || again.stats.Loading > time.Second {
		t.Errorf("once it is loaded: got %x after %v of waiting, want %x at once", again.logits, again.stats.Loading, want.logits)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if place := e.Placement(); done != total || total <= place.LoadBytes {
		t.Errorf("loaded %d of %d bytes, of which %d are no neurons", done, total, place.LoadBytes)
	}
}

// What cannot be read at an early start is the error of every request until it
// can, and names the file and the tensor.
func TestEarlyOpenFails(t *testing.T) {
	path := tinyPack(t)
	counts := profiled(t, path, prompt(4096, 90))
	s := strategy(config.Predicted, 0.8)
	hottest := int(counts.Hottest(5)[0])
	for what, name := range map[string]string{"a matrix": lastMatrix, "a hot neuron": "of layer 5"} {
		p, file := hold(t, path, lastMatrix)
		if name != lastMatrix {
			file.holds(p.BundleOffset(5, hottest), p.BundleStride())
		}
		file.err = syscall.EIO
		file.release()
		t.Run(what, func(t *testing.T) { checkFailingStart(t, p, file, engine.Options{Strategy: s, Counts: counts}, name) })
	}
}

// checkFailingStart opens a pack early of which something cannot be read, that an
// error names.
func checkFailingStart(t *testing.T, p *pack.Pack, file disk.File, o engine.Options, name string) {
	path := p.Path()
	var done, total int64
	o.File, o.Early, o.Progress = file, true, func(d, all int64) { done, total = d, all }
	e, err := engine.Open(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = e.Run(t.Context(), engine.Request{IDs: prompt(4096, 5), MaxTokens: 1})
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want EIO that names %s of %s", err, name, path)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if done != total || total == 0 {
		t.Errorf("got progress %d of %d at the end, want all", done, total)
	}
}

// What could not be read at an early start is read for the next request.
func TestEarlyOpenRecovers(t *testing.T) {
	path := tinyPack(t)
	counts := profiled(t, path, prompt(4096, 90))
	o := engine.Options{Strategy: strategy(config.Predicted, 0.8), Counts: counts}
	ids := prompt(4096, 20)
	want := outcomeOf(t, open(t, path, o), ids, 1)
	for _, what := range []string{"a matrix", "a hot neuron"} {
		t.Run(what, func(t *testing.T) {
			p, file := hold(t, path, lastMatrix)
			if what == "a hot neuron" {
				file.holds(p.BundleOffset(3, int(counts.Hottest(3)[0])), p.BundleStride())
			}
			file.err = syscall.EIO
			file.release()
			var done, total int64
			o.File, o.Early = file, true
			o.Progress = func(d, all int64) {
				if d > all {
					t.Errorf("got progress %d of %d", d, all)
				}
				done, total = d, all
			}
			e, err := engine.Open(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			req := engine.Request{IDs: ids, MaxTokens: 1}
			if _, err := e.Run(t.Context(), req); !errors.Is(err, syscall.EIO) {
				t.Errorf("while it cannot be read: got %v, want EIO", err)
			}
			file.err = nil
			if got := outcomeOf(t, e, ids, 1); got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
				t.Errorf("once it can: got %x %v, want %x %v", got.logits, got.ids, want.logits, want.ids)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if done != total || total == 0 {
				t.Errorf("got progress %d of %d at the end, want all", done, total)
			}
		})
	}
}

// Who waits for a model to be loaded can stop waiting, and a model can be closed
// before it is loaded.
func TestEarlyOpenStops(t *testing.T) {
	path := tinyPack(t)
	p, file := hold(t, path, lastMatrix)
	first := make(chan struct{})
	seen := sync.OnceFunc(func() { close(first) })
	e, err := engine.Open(t.Context(), p, engine.Options{
		Strategy: strategy(config.Gate, 3), File: file, Early: true,
		Observe: func(int, int, device.Work, []float32) { seen() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-first
		cancel()
	}()
	req := engine.Request{IDs: prompt(4096, 5), MaxTokens: 1}
	if _, err := e.Run(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want that", err)
	}
	running := make(chan error)
	go func() {
		_, err := e.Run(t.Context(), req)
		running <- err
	}()
	closed := make(chan error)
	go func() { closed <- e.Close() }()
	if err := <-running; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, engine.ErrClosed)
	}
	file.release() // a read that has begun cannot be stopped
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Where nothing may happen beside, or matrices are never loaded, an early Open
// loads everything.
func TestEarlyOpenWaits(t *testing.T) {
	path := tinyPack(t)
	synchronous := strategy(config.Dense, 3)
	synchronous.AsyncTransfer = false
	for _, s := range []config.OffloadStrategy{synchronous, strategy(config.Dense, smallest(t, path))} {
		var done, total int64
		e := open(t, path, engine.Options{Strategy: s, Early: true, Progress: func(d, all int64) { done, total = d, all }})
		if done != total || total == 0 {
			t.Errorf("loaded %d of %d when Open returned, want all", done, total)
		}
		if got := outcomeOf(t, e, prompt(4096, 5), 1); got.stats.Loading != 0 {
			t.Errorf("got %v waiting to be loaded, want none", got.stats.Loading)
		}
	}
}
