package trace

import "fmt"

// Recorder makes a trace while a model runs. It is used by one goroutine.
type Recorder struct {
	path  string
	trace Trace
	step  [][]int32 // [layers] under way
	layer int       // least that may be next
	seen  int       // layers of step that there are
	err   error     // the first
}

// NewRecorder starts a trace that is kept in memory.
func NewRecorder(info Info) (*Recorder, error) {
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return &Recorder{trace: Trace{Info: info, Sets: make([]Sets, info.Layers)}, step: make([][]int32, info.Layers)}, nil
}

// Create starts the trace that is to be at path once it is closed.
func Create(path string, info Info) (*Recorder, error) {
	r, err := NewRecorder(info)
	if err != nil {
		return nil, fmt.Errorf("trace: create %s: %w", path, err)
	}
	r.path = path
	return r, nil
}

// Steps is how many steps came to their end.
func (r *Recorder) Steps() int { return r.trace.Steps() }

// Want says what the next layer of a step that has units wants, ids ascending. Layers
// come in order; the first one begins a step anew, whether or not the one before came
// to its end. Errors are told by Close.
func (r *Recorder) Want(layer int, ids []int32) {
	all := r.trace.Having == 0
	if layer == 0 || layer < r.layer && !all {
		r.layer, r.seen = 0, 0
	}
	if layer >= len(r.step) || layer != r.layer && all {
		if r.err == nil {
			r.err = fmt.Errorf("trace: got layer %d, want %d", layer, r.layer)
		}
		return
	}
	r.step[layer] = append(r.step[layer][:0], ids...)
	r.layer = layer + 1
	if r.seen++; r.seen < r.trace.having() {
		return
	}
	for l, ids := range r.step {
		r.trace.Sets[l].Add(ids)
	}
}

// Trace is the steps that came to their end.
func (r *Recorder) Trace() (*Trace, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &r.trace, r.trace.check()
}

// Close writes the trace. After an error what had its name before is still
// there.
func (r *Recorder) Close() error {
	if r.err != nil {
		return fmt.Errorf("trace: write %s: %w", r.path, r.err)
	}
	return r.trace.Write(r.path)
}
