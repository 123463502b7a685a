package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/reads"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// message is a line that a job's process writes: one of the fields.
type message struct {
	Doing  string  `json:"doing,omitempty"` // for whoever waits
	Result *Result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Result is what a job found.
type Result struct {
	Proof   Proof
	Backend string
	Quality *Quality // nil for an exact mode
	Load    Rate     // of the bytes of decoding, from memory
	Start   Rate     // of the reads up to the first token, and the time that it took
	Auto    string   // what mode auto chose
	Rows    []Row
}

// Child carries out the job that in holds and writes to out what it does and
// what it finds. The end of in, where whoever wrote the job waits for the
// result, ends the job. The process's heap is held to the budget.
func Child(ctx context.Context, in io.Reader, out io.Writer) error {
	return serve(ctx, in, out, (*child).open)
}

// serve is Child with another way to open the model.
func serve(ctx context.Context, in io.Reader, out io.Writer, open func(*child, context.Context) (*engine.Engine, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dec := json.NewDecoder(in)
	var j Job
	if err := dec.Decode(&j); err != nil {
		return fmt.Errorf("bench: read job: %w", err)
	}
	if err := j.check(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(dec.Buffered(), in))
		cancel(errAbandoned)
	}()
	enc := json.NewEncoder(out)
	c := &child{Job: j, progress: func(what string) { _ = enc.Encode(message{Doing: what}) }}
	res, err := c.run(ctx, open)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return enc.Encode(message{Error: err.Error()})
	}
	return enc.Encode(message{Result: res})
}

var errAbandoned = errors.New("bench: got no reader for the result")

// child is a job under way.
type child struct {
	Job
	progress func(what string)
	e        *engine.Engine
	tracer   *trace.Recorder // of Wanted, nil while nothing is traced
	rec      reads.Recorder
	reads    []engine.Read // of decoded tokens, to load
	loader   *reads.Loader // nil if there are none
	peak     int64         // bytes resident at most, before anything but the model's own
}

func (c *child) run(ctx context.Context, open func(*child, context.Context) (*engine.Engine, error)) (res *Result, err error) {
	c.progress("loading")
	if c.e, err = open(c, ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.e.Close()) }()
	res = &Result{Backend: c.e.Backend()}
	if a := c.e.Choice(); a != nil {
		res.Auto = a.Summary()
	}
	if res.Start, err = c.first(ctx); err != nil {
		return nil, err
	}
	c.progress("checking")
	if res.Proof, res.Quality, err = c.prove(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if c.loader != nil {
			c.loader.Close()
		}
	}()
	if err := c.measure(ctx, res); err != nil {
		return nil, err
	}
	if c.Trace != "" {
		if err := c.trace(ctx); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// open opens the model for the mode.
func (c *child) open(ctx context.Context) (*engine.Engine, error) {
	memory.LimitHeapToConvert()
	file, err := c.file()
	if err != nil {
		return nil, err
	}
	src, err := hub.FindIn(c.Model, c.CacheDir)
	if err != nil {
		return nil, err
	}
	p, err := openPack(c.Pack)
	if err != nil {
		return nil, err
	}
	known, err := finder(c.Strategy, c.CacheDir).Of(src, p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	o := engine.Options{
		Strategy: c.Strategy, File: file, RingSlots: c.RingSlots, Unprofiled: c.Mode == Naive,
		Wanted: c.want, Reads: c.rec.Note, Early: true,
		// Where a budget is everything it is all there before anything is timed, as in
		// what it is compared with.
		Fill:    p.Profile().Experts() > 0 && c.Strategy.Budget.Share >= 1,
		Planned: func(p *placement.Placement) { memory.LimitHeap(p.Process.BudgetBytes, p.MemoryBytes) },
	}
	if c.SimDisk != nil {
		o.OpenFile, o.Disk = c.SimDisk.Opener(), c.SimDisk.Speed()
	}
	known.Use(&o)
	return engine.Open(ctx, p, o)
}

// file is what the mode reads the pack by, nil for the strategy's own way.
func (c *child) file() (disk.File, error) {
	switch c.Mode {
	case Naive, AblatePredictor, AblateCache:
		p, err := openPack(c.Pack)
		if err != nil {
			return nil, err
		}
		var f disk.File
		if c.SimDisk != nil {
			f, err = disk.OpenSim(p, *c.SimDisk)
		} else {
			f, err = disk.OpenFile(p, c.Strategy.IO)
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		if c.Mode == Naive {
			return joinedFile{f}, p.Close()
		}
		return splitFile{f, p.BundleOffset(0, 0)}, p.Close()
	}
	return nil, nil
}
