package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// sequence is a request and its state.
type sequence struct {
	req     Request
	ctx     context.Context
	cancel  context.CancelFunc
	sampler *sample.Sampler
	ids     []int32 // prompt and generated tokens
	prompt  int     // length of the prompt
	most    int     // length at which the text ends
	seq     kv.Seq  // the tokens computed so far

	alone   context.Context // ends when ctx does or the engine is closed; see stepContext
	release func()          // of alone

	tokens chan int32    // generated, closed at the end; never full
	done   chan struct{} // closed when the loop has let go of the sequence
	quit   atomic.Bool   // Token ended the text
	err    error         // valid once done
	finish FinishReason

	before          Counters // when the sequence began
	prompted        Counters // spent on the prompt
	counts          Counters // spent in all
	prefill, decode time.Duration
}

// result is the outcome of a sequence of which the caller got delivered
// tokens: when it ends a text itself, the loop may be a token ahead.
func (s *sequence) result(delivered int) *Result {
	ids := s.ids[s.prompt:][:delivered]
	if s.quit.Load() {
		s.finish = FinishStop
	}
	return &Result{IDs: ids, Finish: s.finish, Stats: Stats{
		PromptTokens: s.prompt,
		Tokens:       len(ids),
		Prefill:      s.prefill,
		Decode:       s.decode,
		Counters:     s.counts,
		Decoding:     s.counts.minus(s.prompted),
	}}
}

// prefilling reports whether a part of the prompt is still to be computed.
func (s *sequence) prefilling() bool { return s.seq.Len() < s.prompt }

// start starts the loop.
func (e *Engine) start() {
	e.submit = make(chan *sequence)
	e.stopped, e.stop = context.WithCancel(context.Background())
	e.loop.Add(1)
	go func() {
		defer e.loop.Done()
		for e.admit() {
			e.step()
		}
		for _, s := range append(e.running, e.waiting...) {
			e.end(s, ErrClosed)
		}
	}()
}

// admit takes new requests, waiting for one if there is nothing to do, and
// starts those for whose longest text the KV cache has room, first come first
// served. It reports false when the engine is closed.
func (e *Engine) admit() bool {
	for {
		for len(e.waiting) > 0 {
			s := e.waiting[0]
			if need := kv.Pages(s.most); need <= e.pages {
				e.pages -= need
				s.before = e.counters()
				e.running = append(e.running, s)
				e.waiting = e.waiting[1:]
				continue
			}
			break
		}
		if len(e.running) > 0 {
			select {
			case s := <-e.submit:
				e.waiting = append(e.waiting, s)
				continue
			case <-e.stopped.Done():
				return false
			default:
				return true
			}
		}
		for more := true; more; {
			select {
			case s := <-e.submit:
				e.waiting = append(e.waiting, s)
				more = false
			case <-e.stopped.Done():
				return false
			default:
				more = e.fill.idle()
			}
		}
		if len(e.waiting) > 0 {
			continue
		}
		select {
		case s := <-e.submit:
			e.waiting = append(e.waiting, s)
		case <-e.stopped.Done():
			return false
		}
	}
}

// step computes one batch.
func (e *Engine) step() {
	begin := time.Now()
	e.schedule()
	if len(e.batch) == 0 {
		return
	}
	e.ec.Ctx = e.stepContext()
	loading := e.ec.Stats.Loading
	err := e.run()
	begin = begin.Add(e.ec.Stats.Loading - loading) // of which nobody can judge a speed
	if err == nil {
		e.tell()
	}
	if err == nil {
		err = e.post(begin)
	}
	if e.ec.Decode {
		e.fill.step()
	}
	if err == nil {
		return
	}
	if e.stopped.Err() != nil {
		err = ErrClosed
	}
	for _, s := range e.batch {
		if own := s.ctx.Err(); own != nil {
			e.finish(s, own)
		} else {
			e.finish(s, err)
		}
	}
}

// schedule fills the batch: a piece of the first unfinished prompt, or the
// newest token of as many sequences as fit.
func (e *Engine) schedule() {
	e.batch, e.ids = e.batch[:0], e.ids[:0]
	e.ec.Spans = e.ec.Spans[:0]
	for i := len(e.running) - 1; i >= 0; i-- {
		if s := e.running[i]; s.ctx.Err() != nil {
			e.finish(s, s.ctx.Err())
		}
	}
	e.ec.Decode, e.ec.Audit, e.ec.AuditLayer, e.ec.Exact = true, nil, -1, false
	e.ec.Wanted = e.wanted
	for _, s := range e.running {
		if s.prefilling() {
			e.ec.Decode, e.ec.Audit, e.ec.Exact = false, s.req.Audit, s.req.Exact
			e.ec.Wanted = nil
			e.add(s, min(e.ec.Chunk(), s.prompt-s.seq.Len()))
			return
		}
	}
	for _, s := range e.running {
		if len(e.batch) == e.ec.Chunk() {
			break
		}
		e.add(s, 1)
	}
	e.sample()
}

// add puts the next n tokens of s into the batch.
func (e *Engine) add(s *sequence, n int) {
	at := s.seq.Len()
	e.batch = append(e.batch, s)
	e.ids = append(e.ids, s.ids[at:at+n]...)
	e.ec.Spans = append(e.ec.Spans, device.Span{Seq: &s.seq, Pos: at, N: n})
}

// stepContext ends the step when the engine is closed. A request on its own
// ends its step too; one among several waits for the others. It is made once a
// request, so that a token more costs no allocation.
func (e *Engine) stepContext() context.Context {
	if len(e.batch) > 1 {
		return e.stopped
	}
	s := e.batch[0]
	if s.alone == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		unlink := context.AfterFunc(e.stopped, cancel)
		s.alone, s.release = ctx, func() { unlink(); cancel() }
	}
	return s.alone
}

// run computes the batch.
func (e *Engine) run() error {
	if err := e.store.CheckUnchanged(); err != nil {
		return err
	}
	for _, s := range e.ec.Spans {
		if err := e.kv.Grow(s.Seq, s.N); err != nil {
			return err
		}
	}
	return e.model.Forward(e.ec, e.ids)
}

// post hands out logits, samples, and ends what is finished. begin is when
// the step began.
func (e *Engine) post(begin time.Time) error {
	if !e.ec.Decode {
		return e.postPrompt(e.batch[0], begin)
	}
	for first := 0; first < len(e.batch); first += model.LogitRows {
		n := min(model.LogitRows, len(e.batch)-first)
		logits, err := e.model.Logits(e.ec, e.ec.Final(first, n), 0)
		if err != nil {
			return err
		}
		for i, s := range e.batch[first : first+n] {
			s.decode += time.Since(begin)
			e.next(s, logits.Row(i))
		}
	}
	return nil
}

// postPrompt is post for a piece of a prompt.
func (e *Engine) postPrompt(s *sequence, begin time.Time) error {
	n := len(e.ids)
	at := s.seq.Len() - n // position of the batch's first token
	if s.req.Final != nil {
		for i := range n {
			s.req.Final(at+i, e.ec.Final(i, 1).Row(0))
		}
	}
	first, group := n-1, model.LogitRows
	if s.req.Logits != nil || s.req.Compare != nil {
		first = 0
	} else if s.prefilling() {
		s.prefill += time.Since(begin)
		return nil
	}
	if s.req.Compare != nil {
		group /= 2
	}
	for ; first < n; first += group {
		rows := min(group, n-first)
		logits, err := e.model.Logits(e.ec, e.ec.Final(first, rows), 0)
		if err != nil {
			return err
		}
		if err := e.hand(s, at+first, logits); err != nil {
			return err
		}
		if at+first+rows == s.prompt {
			s.prefill += time.Since(begin)
			s.prompted = e.counters().minus(s.before)
			e.next(s, logits.Row(rows-1))
			return nil
		}
	}
	s.prefill += time.Since(begin)
	return nil
}

// hand gives the logits of a prompt's tokens from position at on to whoever
// wants them.
func (e *Engine) hand(s *sequence, at int, logits device.Act) error {
	if s.req.Logits != nil {
		for i := range logits.Rows {
			s.req.Logits(at+i, logits.Row(i))
		}
	}
	if s.req.Compare == nil {
		return nil
	}
	x := e.ec.Spare(logits.Rows)
	for i := range x.Rows {
		copy(x.Row(i), s.req.Other(at+i))
	}
	other, err := e.model.Logits(e.ec, x, logits.Rows)
	if err != nil {
		return err
	}
	for i := range x.Rows {
		s.req.Compare(at+i, logits.Row(i), other.Row(i))
	}
	return nil
}

// next samples the token after the newest of s, or ends s.
func (e *Engine) next(s *sequence, logits []float32) {
	if len(s.ids) == s.most {
		s.finish = FinishLength
		e.finish(s, nil)
		return
	}
	var id int32
	if s.req.Force != nil {
		id = s.req.Force[len(s.ids)-s.prompt]
	} else {
		var err error
		if id, err = s.sampler.Sample(logits, s.ids); err != nil {
			e.finish(s, err)
			return
		}
	}
	if e.profile.IsEOS(id) && !s.req.IgnoreEOS {
		s.finish = FinishStop
		e.finish(s, nil)
		return
	}
	s.ids = append(s.ids, id)
	s.tokens <- id
	if len(s.ids) == s.most {
		s.finish = FinishLength
		e.finish(s, nil)
	}
}

// finish takes s out of the running sequences.
func (e *Engine) finish(s *sequence, err error) {
	for i, r := range e.running {
		if r == s {
			e.running = append(e.running[:i], e.running[i+1:]...)
			e.pages += kv.Pages(s.most)
			e.kv.Release(&s.seq)
			e.end(s, err)
			return
		}
	}
}

// end tells whoever waits for s.
func (e *Engine) end(s *sequence, err error) {
	if s.release != nil {
		s.release()
	}
	s.counts = e.counters().minus(s.before)
	s.err = err
	close(s.tokens)
	close(s.done)
}
