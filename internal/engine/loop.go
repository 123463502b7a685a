package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/sparseflow/sparseflow/internal/sched"
)

// ErrClosed is the error of requests to an engine that was closed.
var ErrClosed = errors.New("engine: closed")

// loop runs requests, step after step, on one goroutine. All fields but those of
// queue are that goroutine's.
type loop struct {
	*loaded
	queue
	report report
	wanted func(layer int, ids []int32) // Options.Wanted
	use    use

	waiting, running []*sequence
	kept             kept
	keepText         bool        // Options.KeepText
	batch            []*sequence // of the step
	ids              []int32     // of the step

	// Memory that serves again.
	states []sched.Sequence
	spans  []sched.Span
}

// queue is how requests get to the loop.
type queue struct {
	submit  chan *sequence
	stopped context.Context // done when the loop is told to end
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// newLoop is a loop that does not run yet.
func newLoop(m *loaded, o Options) *loop {
	l := &loop{loaded: m, report: newReport(m, o.Notify), wanted: o.Wanted, keepText: o.KeepText}
	if o.Used != nil && m.profile.Experts() > 0 {
		l.use = newUse(m.profile, o)
		l.wanted = l.use.add
	}
	l.submit = make(chan *sequence)
	l.stopped, l.stop = context.WithCancel(context.Background())
	return l
}

// admit takes new requests, waiting for one if there is nothing to do, and
// starts those for whose longest text the KV cache has room. It reports false
// when the engine is closed.
func (l *loop) admit() bool {
	for l.stopped.Err() == nil {
		l.take()
		l.begin()
		if len(l.running) > 0 {
			return true
		}
		if l.fill.idle() {
			continue
		}
		select {
		case s := <-l.submit:
			l.waiting = append(l.waiting, s)
		case <-l.stopped.Done():
		}
	}
	return false
}

// take takes the requests that are there.
func (l *loop) take() {
	for {
		select {
		case s := <-l.submit:
			l.waiting = append(l.waiting, s)
		default:
			return
		}
	}
}

// begin has waiting sequences run, those that can.
func (l *loop) begin() {
	if len(l.waiting) == 0 {
		return
	}
	l.states = l.appendStates(l.appendStates(l.states[:0], l.running), l.waiting)
	running, waiting := l.states[:len(l.running)], l.states[len(l.running):]
	n := sched.Admit(running, waiting, l.pages(l.place.Context))
	for _, s := range l.waiting[:n] {
		s.before = l.report.counters()
		l.reuse(s)
	}
	l.running = append(l.running, l.waiting[:n]...)
	l.makeRoom()
	l.waiting = slices.Delete(l.waiting, 0, n)
}

// appendStates appends the states of sequences.
func (l *loop) appendStates(states []sched.Sequence, of []*sequence) []sched.Sequence {
	for _, s := range of {
		x := s.state()
		x.Pages = l.pages(s.most)
		states = append(states, x)
	}
	return states
}

// pages is what a text of tokens tokens needs of the KV cache.
func (l *loop) pages(tokens int) int {
	shape := l.model.KV.Shape()
	return shape.Pages(tokens, l.ec.Chunk())
}

// finish takes s out of the running sequences.
func (l *loop) finish(s *sequence, err error) {
	if i := slices.Index(l.running, s); i >= 0 {
		l.running = slices.Delete(l.running, i, i+1)
		l.keep(s)
		l.end(s, err)
	}
}

// end tells whoever waits for s.
func (l *loop) end(s *sequence, err error) {
	if s.release != nil {
		s.release()
	}
	s.counts = l.report.counters().minus(s.before)
	s.err = err
	close(s.tokens)
	close(s.done)
}
