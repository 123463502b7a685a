package engine

import (
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/model"
)

// post hands out logits, samples, and ends what is finished. begin is when
// the step began.
func (l *loop) post(begin time.Time) error {
	if !l.ec.Decode {
		return l.postPrompt(l.batch[0], begin)
	}
	for first := 0; first < len(l.batch); first += model.LogitRows {
		n := min(model.LogitRows, len(l.batch)-first)
		logits, err := l.model.Logits(l.ec, l.ec.Final(first, n), 0)
		if err != nil {
			return err
		}
		for i, s := range l.batch[first : first+n] {
			s.decode += time.Since(begin)
			if err := l.ec.Failed(first + i); err != nil {
				l.finish(s, err)
				continue
			}
			l.next(s, logits.Row(i))
		}
	}
	return nil
}

// postPrompt is post for a piece of a prompt.
func (l *loop) postPrompt(s *sequence, begin time.Time) error {
	n := len(l.ids)
	at := s.seq.Len() - n // position of the batch's first token
	if s.req.Final != nil {
		for i := range n {
			s.req.Final(at+i, l.ec.Final(i, 1).Row(0))
		}
	}
	first, group := n-1, model.LogitRows
	switch {
	case s.req.Compare != nil:
		first, group = 0, group/2
	case s.req.Logits != nil:
		first = 0
	case s.state().Prefilling():
		first = n // nobody wants any
	}
	var logits device.Act
	for ; first < n; first += group {
		var err error
		if logits, err = l.model.Logits(l.ec, l.ec.Final(first, min(group, n-first)), 0); err != nil {
			return err
		}
		if err := l.hand(s, at+first, logits); err != nil {
			return err
		}
	}
	s.prefill += time.Since(begin)
	if !s.state().Prefilling() {
		s.prompted = l.report.counters().minus(s.before)
		l.next(s, logits.Row(logits.Rows-1))
	}
	return nil
}

// hand gives the logits of a prompt's tokens from position at on to whoever
// wants them.
func (l *loop) hand(s *sequence, at int, logits device.Act) error {
	if s.req.Logits != nil {
		for i := range logits.Rows {
			s.req.Logits(at+i, logits.Row(i))
		}
	}
	if s.req.Compare == nil {
		return nil
	}
	x := l.ec.Spare(logits.Rows)
	for i := range x.Rows {
		copy(x.Row(i), s.req.Other(at+i))
	}
	other, err := l.model.Logits(l.ec, x, logits.Rows)
	if err != nil {
		return err
	}
	for i := range x.Rows {
		s.req.Compare(at+i, logits.Row(i), other.Row(i))
	}
	return nil
}

// next samples the token after the newest of s, or ends s.
func (l *loop) next(s *sequence, logits []float32) {
	if len(s.ids) == s.most {
		s.finish = FinishLength
		l.finish(s, nil)
		return
	}
	var id int32
	if s.req.Force != nil {
		id = s.req.Force[len(s.ids)-s.prompt]
	} else {
		var err error
		if id, err = s.sampler.Sample(logits, s.ids); err != nil {
			l.finish(s, err)
			return
		}
	}
	if (l.profile.IsEOS(id) || slices.Contains(s.req.EOS, id)) && !s.req.IgnoreEOS {
		s.finish = FinishStop
		l.finish(s, nil)
		return
	}
	s.ids = append(s.ids, id)
	s.tokens <- id
	if len(s.ids) == s.most {
		s.finish = FinishLength
		l.finish(s, nil)
	}
}
