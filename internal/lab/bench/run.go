package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// Options is what to measure.
type Options struct {
	Setup
	Profile config.ModelProfile
	Free    int64         // bytes of memory that are free, 0: unknown
	Timeout time.Duration // of a mode
	// Command makes the process that calls Child.
	Command func(ctx context.Context) (*exec.Cmd, error)
	// Measure, if not nil, measures the limits once more after each mode.
	Measure func(context.Context) (Limits, error)
	// Progress is told what is being done.
	Progress func(what string)
}

// Report is what was measured.
type Report struct {
	Backend string
	Rows    []Row
	Skipped []Skipped
	Proof   *Proof // of the output, for other runs' Expect
}

// Skipped is a mode that could not be measured, and why.
type Skipped struct {
	Mode        Mode   `json:"mode"`
	BudgetBytes int64  `json:"budget_bytes"`
	Why         string `json:"why"`
}

// Run measures modes, one after the other, each in a process of its own. A
// mode that this machine cannot run is skipped; one whose output is wrong, or
// that fails, is an error.
func Run(ctx context.Context, o Options, modes []Mode) (*Report, error) {
	r := &runner{o: o, rep: &Report{Proof: o.Expect}}
	for _, m := range modes {
		if err := r.mode(ctx, m); err != nil {
			return nil, err
		}
	}
	return r.rep, nil
}

// runner is a run under way.
type runner struct {
	o   Options
	rep *Report
}

func (r *runner) mode(ctx context.Context, m Mode) error {
	p, err := r.o.plan(m)
	if err != nil {
		return err
	}
	if need := p.place.Process.BudgetBytes; r.o.Free > 0 && need > r.o.Free {
		why := fmt.Sprintf("needs %s of memory, %s are free", config.FormatSize(need), config.FormatSize(r.o.Free))
		r.rep.Skipped = append(r.rep.Skipped, Skipped{m, need, why})
		return nil
	}
	j := Job{Setup: r.o.Setup, Mode: m, RingSlots: p.ringSlots}
	j.Strategy, j.Expect = p.strategy, r.rep.Proof
	if !m.Budgeted() { // the others do not read
		j.SimDisk = nil
	}
	if m != Sparse {
		j.Trace, j.TraceText = "", ""
	}
	if j.SimDisk != nil {
		if err := r.fillSim(); err != nil {
			return err
		}
	}
	res, err := r.child(ctx, &j)
	if err != nil {
		return err
	}
	before := r.o.Limits
	if r.o.Measure != nil {
		r.o.Progress("measuring memory and disk")
		if r.o.Limits, err = r.o.Measure(ctx); err != nil {
			return err
		}
	}
	for i := range res.Rows {
		res.Rows[i].bound(&before, &r.o.Limits)
	}
	r.keep(m, res)
	return nil
}

// fillSim has what stands for the disk in the page cache, so that a mode's process
// need not read it there before its first token.
func (r *runner) fillSim() error {
	p, err := openPack(r.o.Pack)
	if err != nil {
		return err
	}
	r.o.Progress("filling the simulated disk")
	f, err := disk.OpenSim(p, *r.o.SimDisk)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return errors.Join(f.Close(), p.Close())
}

// keep adds a mode's result.
func (r *runner) keep(m Mode, res *Result) {
	r.rep.Backend = res.Backend
	r.rep.Rows = append(r.rep.Rows, res.Rows...)
	for i := range r.rep.Rows {
		row := &r.rep.Rows[i]
		row.OfDense = ratio(row.TokS, r.dense(row.Test))
	}
	p := r.rep.Proof
	if p == nil {
		p = &Proof{LogitsSHA256: res.Proof.LogitsSHA256, Likeliest: res.Proof.Likeliest, BOS: res.Proof.BOS}
		r.rep.Proof = p
	}
	if p.Greedy == nil && r.o.exact(m) {
		p.Greedy = res.Proof.Greedy
	}
}

// dense is the speed of mode dense, 0 if it was not measured.
func (r *runner) dense(t Test) float64 {
	for _, row := range r.rep.Rows {
		if row.Mode == Dense && row.Test == t {
			return row.TokS
		}
	}
	return 0
}

// patience is how long a process that was told to end may take.
const patience = 3 * time.Second

// child runs one job in a process and waits for its end, come what may.
func (r *runner) child(ctx context.Context, j *Job) (*Result, error) {
	if r.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.o.Timeout, fmt.Errorf("took longer than %v", r.o.Timeout))
		defer cancel()
	}
	cmd, err := r.o.Command(ctx)
	if err != nil {
		return nil, err
	}
	cmd.WaitDelay = patience
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// The job's process ends when this pipe does, so that it does not outlive
	// this one, however that ends.
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// It is killed if that does not end it within WaitDelay.
	cmd.Cancel = in.Close
	j.Started = time.Now()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil { // before there was a process
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("bench: mode %s: start: %w", j.Mode, err)
	}
	res, told := r.converse(j, in, out)
	_ = in.Close()
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("bench: mode %s: %w", j.Mode, context.Cause(ctx))
	case told != nil:
		return nil, told
	case res == nil:
		how := strings.TrimSpace(stderr.String())
		if ended != nil {
			how = strings.TrimPrefix(ended.Error()+": "+how, ": ")
		}
		return nil, fmt.Errorf("bench: mode %s: got a process that ended without a result (%s)", j.Mode, strings.TrimSuffix(how, ": "))
	}
	return res, nil
}

// converse hands over the job and listens until the process has no more to
// say.
func (r *runner) converse(j *Job, in io.Writer, out io.Reader) (*Result, error) {
	line, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	if _, err := in.Write(append(line, '\n')); err != nil {
		return nil, nil // it died; Wait says how
	}
	var res *Result
	dec := json.NewDecoder(bufio.NewReader(out))
	for {
		var m message
		switch err := dec.Decode(&m); {
		case err != nil:
			return res, nil
		case m.Error != "":
			return nil, fmt.Errorf("mode %s: %s", j.Mode, m.Error)
		case m.Result != nil:
			res = m.Result
		default:
			r.o.Progress(fmt.Sprintf("%s: %s", j.Mode, m.Doing))
		}
	}
}
