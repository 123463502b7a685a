package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/sched"
)

// run computes steps until the engine is closed.
func (l *loop) run() {
	for l.admit() {
		l.step()
	}
	for _, s := range append(l.running, l.waiting...) {
		l.end(s, ErrClosed)
	}
}

// step computes one batch: schedule, run, post-process.
func (l *loop) step() {
	begin := time.Now()
	waited := l.loading.waited
	if !l.schedule() {
		return
	}
	err := l.compute()
	for i, s := range l.batch {
		if err == nil && l.ec.Failed(i) == nil {
			s.computed = s.seq.Len()
		}
	}
	begin = begin.Add(l.loading.waited - waited) // of which nobody can judge a speed
	if err == nil {
		l.report.tell()
		err = l.post(begin)
	}
	if l.ec.Decode {
		l.fill.step()
	}
	if err == nil {
		return
	}
	if l.stopped.Err() != nil {
		err = ErrClosed
	}
	for _, s := range l.batch {
		l.finish(s, cmp.Or(s.ctx.Err(), err))
	}
}

// schedule fills the batch from the sequences that are still wanted, and reports
// whether there is any.
func (l *loop) schedule() bool {
	for i := len(l.running) - 1; i >= 0; i-- {
		if s := l.running[i]; s.ctx.Err() != nil {
			l.finish(s, s.ctx.Err())
		}
	}
	ec := l.ec
	l.batch, l.ids, ec.Spans = l.batch[:0], l.ids[:0], ec.Spans[:0]
	l.states = l.appendStates(l.states[:0], l.running)
	l.spans, ec.Decode = sched.Next(l.spans[:0], l.states, ec.Chunk())
	for _, span := range l.spans {
		s := l.running[span.Sequence]
		at := s.seq.Len()
		l.batch = append(l.batch, s)
		l.ids = append(l.ids, s.ids[at:at+span.Tokens]...)
		ec.Spans = append(ec.Spans, device.Span{Seq: &s.seq, Pos: at, N: span.Tokens})
	}
	if len(l.batch) == 0 {
		return false
	}
	ec.Audit, ec.AuditLayer, ec.Exact, ec.Wanted = nil, -1, false, nil
	if ec.Decode {
		ec.Wanted = l.wanted
		l.use.step()
		l.report.sample()
	} else {
		ec.Audit, ec.Exact = l.batch[0].req.Audit, l.batch[0].req.Exact
	}
	return true
}

// compute computes the batch.
func (l *loop) compute() error {
	if err := l.store.CheckUnchanged(); err != nil {
		return err
	}
	for _, s := range l.ec.Spans {
		if err := l.model.KV.Grow(s.Seq, s.N); err != nil {
			return err
		}
	}
	l.ec.Ctx = l.stepContext()
	return l.model.Forward(l.ec, l.ids)
}

// stepContext ends the step when the engine is closed. A request on its own
// ends its step too; one among several waits for the others. It is made once a
// request, so that a token more costs no allocation.
func (l *loop) stepContext() context.Context {
	if len(l.batch) > 1 {
		return l.stopped
	}
	s := l.batch[0]
	if s.alone == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		unlink := context.AfterFunc(l.stopped, cancel)
		s.alone, s.release = ctx, func() { unlink(); cancel() }
	}
	return s.alone
}
