package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Engine is a loaded model that takes requests.
type Engine struct {
	loop    *loop
	closing sync.Once
	closed  error // of Close
}

// Open places and loads the model of p, which it closes together with the
// engine or on an error.
func Open(ctx context.Context, p *pack.Pack, o Options) (*Engine, error) {
	place, err := Plan(p.Layout, o)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if place.Mode != config.Predicted {
		// The heap has no room for predictors that are not used.
		o.Calibration, o.LowRank = nil, nil
	}
	if o.Planned != nil {
		o.Planned(place)
	}
	m := &loaded{pack: p, profile: p.Profile(), place: place}
	if err := m.load(ctx, o); err != nil {
		return nil, errors.Join(err, m.close())
	}
	l := newLoop(m, o)
	l.ended.Go(l.run)
	return &Engine{loop: l}, nil
}

// Close ends running requests with ErrClosed and gives all memory back. It may
// be called again.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.loop.stop()
		e.loop.ended.Wait()
		e.loop.use.tell()
		e.closed = e.loop.close()
	})
	return e.closed
}

// Run carries out a request. It returns early when ctx ends.
func (e *Engine) Run(ctx context.Context, r Request) (*Result, error) {
	s, err := newSequence(ctx, r, e.loop.profile, e.loop.place.Context)
	if err != nil {
		return nil, err
	}
	defer s.cancel()
	select {
	case e.loop.submit <- s:
	case <-e.loop.stopped.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	delivered := 0
	for id := range s.tokens {
		delivered++
		if r.Token != nil && !r.Token(id) {
			s.quit.Store(true)
			s.cancel()
			break
		}
	}
	// The loop ends the sequence at its next step; only then is it done with
	// what the request handed it.
	<-s.done
	if s.err != nil && !s.quit.Load() {
		return nil, s.err
	}
	res := s.result(delivered)
	res.Stats.Mode = e.loop.place.Mode
	return res, nil
}

// WaitFilled waits until what Options.Fill fills between requests is filled, or ctx ends.
func (e *Engine) WaitFilled(ctx context.Context) {
	if f := e.loop.fill; f != nil {
		select {
		case <-f.ended:
		case <-ctx.Done():
		}
	}
}

// Placement is what lives where. It is not to be changed.
func (e *Engine) Placement() *placement.Placement { return e.loop.place }

// Point is the calibration's point that predicted mode runs at, nil if it is
// not calibrated.
func (e *Engine) Point() *predict.Point { return e.loop.point }

// Choice is what auto stands for, nil in the other modes.
func (e *Engine) Choice() *Choice {
	if !e.loop.place.Auto {
		return nil
	}
	c := choiceOf(e.loop.place)
	return &c
}

// Profile is the model.
func (e *Engine) Profile() config.ModelProfile { return e.loop.profile }

// Backend is the name of what computes.
func (e *Engine) Backend() string { return e.loop.backend.Name() }

// Pack is the model's file.
func (e *Engine) Pack() *pack.Pack { return e.loop.pack }
