package engine_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// countingFile counts the bytes that are read.
type countingFile struct {
	disk.File
	bytes atomic.Int64
}

func (c *countingFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	n, err := c.File.ReadVec(bufs, off)
	c.bytes.Add(int64(n))
	return n, err
}

// openDirect opens a pack and its file, for an engine that is to read through
// something before it.
func openDirect(t *testing.T, path string) (*pack.Pack, disk.File) {
	t.Helper()
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := disk.OpenFile(p, config.IODirect)
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

// Opening reads what is resident, nothing else: no neuron, and no matrix that
// streams.
func TestOpenReadsWhatIsResident(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	for _, share := range []float64{smallestOf(t, path, engine.Options{Strategy: strategy(config.Predicted, 1)}), 0.3, 0.58, 3} {
		p, f := openDirect(t, path)
		count := &countingFile{File: f}
		e, err := engine.Open(context.Background(), p, engine.Options{Strategy: strategy(config.Predicted, share), File: count})
		if err != nil {
			t.Fatal(err)
		}
		// A tensor's ends are read up to the next sector.
		got, want := count.bytes.Load(), e.Placement().LoadBytes
		slack := int64(len(p.Tensors())) * 1024
		if got < want-slack || got > want+slack {
			t.Errorf("at %.2f: got %d bytes read, want the %d that are resident", share, got, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A pack that changes under a running engine ends requests with an error that
// names it, and the engine lives.
func TestPackChanges(t *testing.T) {
	path := small(t, convert.Options{})
	e := open(t, path, engine.Options{Strategy: strategy(config.Dense, 0.3)})
	run := func() error {
		_, err := e.Run(context.Background(), engine.Request{IDs: prompt(smallVocab, 5), MaxTokens: 3, IgnoreEOS: true})
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := run(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "changed") {
			t.Errorf("got %v, want an error that says %s changed", err, path)
		}
	}
}

// brokenFile fails every read while broken.
type brokenFile struct {
	disk.File
	broken atomic.Bool
	after  atomic.Int64 // reads that still succeed
}

func (b *brokenFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	if b.broken.Load() && b.after.Add(-1) < 0 {
		return 0, syscall.EIO
	}
	return b.File.ReadVec(bufs, off)
}

// A disk that fails ends the request that needed it, wherever in a step that
// is, and nothing else: afterwards the same request gives the same tokens.
func TestDiskFails(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	for _, mode := range []config.Mode{config.Dense, config.Predicted} {
		for _, async := range []bool{true, false} {
			p, f := openDirect(t, path)
			file := &brokenFile{File: f}
			s := strategy(mode, 0.5)
			s.AsyncTransfer = async
			e, err := engine.Open(context.Background(), p, engine.Options{Strategy: s, File: file})
			if err != nil {
				t.Fatal(err)
			}
			req := engine.Request{IDs: prompt(4096, 20), MaxTokens: 5, IgnoreEOS: true}
			want, err := e.Run(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, after := range []int64{0, 1, 3, 10, 50} {
				file.after.Store(after)
				file.broken.Store(true)
				if _, err := e.Run(context.Background(), req); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s, async %v, after %d reads: got %v, want EIO naming %s", mode, async, after, err, path)
				}
				file.broken.Store(false)
				got, err := e.Run(context.Background(), req)
				if err != nil || !slices.Equal(got.IDs, want.IDs) {
					t.Errorf("%s, async %v, after %d reads, disk mended: got %v, %v, want %v", mode, async, after, got, err, want.IDs)
				}
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A request that is cancelled ends at once and leaves the engine as it was; a
// closed engine refuses.
func TestCancelAndClose(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	e := open(t, path, engine.Options{Strategy: strategy(config.Predicted, 0.5)})
	req := engine.Request{IDs: prompt(4096, 20), MaxTokens: 400, IgnoreEOS: true}
	ctx, cancel := context.WithCancel(context.Background())
	seen := 0
	cancelled := req
	cancelled.Token = func(int32) bool {
		if seen++; seen == 3 {
			cancel()
		}
		return true
	}
	if _, err := e.Run(ctx, cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	req.MaxTokens = 3
	if _, err := e.Run(context.Background(), req); err != nil {
		t.Error(err)
	}
	running := make(chan error)
	long := req
	long.MaxTokens = 400
	started := make(chan struct{})
	long.Token = func(int32) bool {
		if started != nil {
			close(started)
			started = nil
		}
		return true
	}
	begun := started
	go func() {
		_, err := e.Run(context.Background(), long)
		running <- err
	}()
	<-begun
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := <-running; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a running request: got %v, want %v", err, engine.ErrClosed)
	}
	if _, err := e.Run(context.Background(), req); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a new request: got %v, want %v", err, engine.ErrClosed)
	}
}
