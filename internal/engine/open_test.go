package engine_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/weights"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// countingFile counts the bytes that are read.
type countingFile struct {
	weights.File
	bytes atomic.Int64
}

func (c *countingFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	n, err := c.File.ReadVec(bufs, off)
	c.bytes.Add(int64(n))
	return n, err
}

// Opening reads what is resident, nothing else: no neuron, and no matrix that
// streams.
func TestOpenReadsWhatIsResident(t *testing.T) {
	path := packOf(t, tiny.Files, "tiny")
	for _, share := range []float64{smallest(t, path), 0.3, 0.58, 3} {
		p, err := pack.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFile(p, config.IODirect)
		if err != nil {
			t.Fatal(err)
		}
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
	path := packOf(t, tiny.Files, "tiny")
	e := open(t, path, engine.Options{Strategy: strategy(config.Dense, 0.3)})
	run := func() error {
		_, err := e.Run(context.Background(), engine.Request{IDs: prompt(4096, 5), MaxTokens: 3, IgnoreEOS: true})
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
