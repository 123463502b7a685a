package engine_test

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// faultyFile reads some bytes as fault says.
type faultyFile struct {
	disk.File
	first, end int64
	fault      func() error // nil: none
}

func (f *faultyFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	end := off
	for _, b := range bufs {
		end += int64(len(b))
	}
	if f.fault != nil && off < f.end && end > f.first {
		if err := f.fault(); err != nil {
			return 0, err
		}
	}
	return f.File.ReadVec(bufs, off)
}

// openExperts opens a small mixture of experts of which some are in memory.
func openExperts(t *testing.T, share float64) (e *engine.Engine, f *faultyFile, path string) {
	t.Helper()
	dir := mixture(t)
	src, err := hub.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := convert.Open(t.Context(), src, t.TempDir(), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f = new(faultyFile)
	e, err = engine.Open(t.Context(), p, engine.Options{Strategy: strategy(config.Dense, share), OpenFile: func(p *pack.Pack) (disk.File, error) {
		file, err := disk.OpenFile(p, config.IODirect)
		f.File = file
		return f, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, f, filepath.Join(dir, "model.safetensors")
}

// A read of an expert that fails ends the request that needs it, in one line that says
// where. The engine lives, and what comes after is right.
func TestExpertThatCannotBeRead(t *testing.T) {
	const layer, expert = 2, 5
	ids := prompt(300, 60) // that want every expert
	for _, share := range []float64{0.05, 0.4, 0.8} {
		whole, _, _ := openExperts(t, share)
		want := outcomeOf(t, whole, ids, 8)
		e, f, path := openExperts(t, share)
		f.first = e.Pack().ExpertOffset(layer, 1, expert)
		f.end = f.first + 1
		for name, fault := range map[string]error{"a bad disk": syscall.EIO, "a file cut short": io.EOF} {
			f.fault = func() error { return fault }
			for range 20 { // as often as slots would run out, were any left pinned
				_, err := e.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 2, IgnoreEOS: true})
				if err == nil {
					t.Fatalf("%s, %v in memory: got no error", name, share)
				}
				for _, part := range []string{"expert 5", "layer 2", filepath.Base(path)} {
					if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
						t.Fatalf("%s, %v in memory: got %q, want one line with %q", name, share, err, part)
					}
				}
			}
			f.fault = nil
			if got := outcomeOf(t, e, ids, 8); got.logits != want.logits {
				t.Errorf("after %s, %v in memory: got %x, want %x", name, share, got.logits, want.logits)
			}
			e, f, path = openExperts(t, share) // nothing of it in memory
			f.first, f.end = e.Pack().ExpertOffset(layer, 1, expert), e.Pack().ExpertOffset(layer, 1, expert)+1
		}
	}
}

// A disk that is slow now and then changes no result.
func TestSlowExperts(t *testing.T) {
	ids := prompt(300, 20)
	whole, _, _ := openExperts(t, 0.3)
	want := outcomeOf(t, whole, ids, 8)
	e, f, _ := openExperts(t, 0.3)
	f.first, f.end = e.Pack().ExpertOffset(1, 0, 0), e.Pack().ExpertOffset(1, 2, 7)
	f.fault = func() error { time.Sleep(2 * time.Millisecond); return nil }
	if got := outcomeOf(t, e, ids, 8); got.logits != want.logits {
		t.Errorf("got %x, want %x", got.logits, want.logits)
	}
}

// A file that changes or shrinks while it is in use ends every request from then on,
// in one line that names it.
func TestExpertsOfAFileThatChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"shrinks": func(path string) error { return os.Truncate(path, 1<<20) },
		"is written to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("other"), 1<<20)
			return err
		},
	} {
		e, _, path := openExperts(t, 0.3)
		req := engine.Request{IDs: prompt(300, 20), MaxTokens: 4, IgnoreEOS: true}
		if _, err := e.Run(context.Background(), req); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := e.Run(context.Background(), req)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "changed while it was in use") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the file %s: got %v, want a line that names it", name, err)
			}
		}
	}
}

// A token whose activations are no numbers names no experts. The request that has it
// fails in one line that says in which layer, whether the token is part of a prompt or
// generated; the engine lives, and what begins with the same tokens is right.
func TestRouterOfNoNumbers(t *testing.T) {
	const bad, hidden = 7, 64
	path := mixture(t)
	ids := prompt(300, 30)
	for i := range ids {
		ids[i] = max(ids[i], bad+1)
	}
	cache := t.TempDir()
	want := outcomeOf(t, openMixture(t, path, cache, engine.Options{Strategy: strategy(config.Auto, 0.4)}), ids, 8)

	file := filepath.Join(path, "model.safetensors")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	row := 8 + int(binary.LittleEndian.Uint64(b)) + bad*hidden*2 // embeddings come first
	for i := range hidden {
		binary.LittleEndian.PutUint16(b[row+2*i:], 0x7fc0) // NaN
	}
	if err := os.WriteFile(file, b, 0o666); err != nil {
		t.Fatal(err)
	}
	e := openMixture(t, path, cache, engine.Options{Strategy: strategy(config.Auto, 0.4)})
	for _, req := range []engine.Request{
		{IDs: append(slices.Clone(ids), bad), MaxTokens: 1},
		{IDs: []int32{bad}, MaxTokens: 1},
		{IDs: ids, Force: []int32{bad, 20, 20}, MaxTokens: 3, IgnoreEOS: true},
	} {
		for range 20 { // as often as slots would run out, were any left pinned
			_, err := e.Run(context.Background(), req)
			if err == nil || !strings.Contains(err.Error(), "layer 0") || !strings.Contains(err.Error(), "router") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want a line about the router of layer 0", err)
			}
		}
		if got := outcomeOf(t, e, ids, 8); got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
			t.Errorf("after it: got %x %v, want %x %v", got.logits, got.ids, want.logits, want.ids)
		}
	}

	// Nor does it fail what shares steps with it.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if i%2 == 0 {
				if got := outcomeOf(t, e, ids, 8); got.logits != want.logits || !slices.Equal(got.ids, want.ids) {
					t.Errorf("beside it: got %x %v, want %x %v", got.logits, got.ids, want.logits, want.ids)
				}
				return
			}
			force := []int32{20, 21, bad, 22, 23}
			if _, err := e.Run(context.Background(), engine.Request{IDs: ids[i:], Force: force, MaxTokens: 5, IgnoreEOS: true}); err == nil {
				t.Error("beside others: got no error")
			}
		})
	}
	wg.Wait()
}
