package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return e.Signal.String() }

// interrupts is what SIGINT ends while it is set, in place of the program: the
// answer of a conversation. It is kept in the program's context.
type interrupts struct {
	end atomic.Pointer[context.CancelFunc]
}

type interruptsKey struct{}

// interruptible runs f, which SIGINT ends and nothing else.
func interruptible(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.end.Store(&cancel)
		defer i.end.Store(nil)
	}
	return f(ctx)
}

// withSignals ends the context at the first SIGINT or SIGTERM that nobody else
// takes. From then on they act as they do by default, so the second one kills.
func withSignals(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	var i interrupts
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			if end := i.end.Load(); s == syscall.SIGINT && end != nil {
				(*end)()
				continue
			}
			signal.Reset(syscall.SIGINT, syscall.SIGTERM)
			if s, ok := s.(syscall.Signal); ok {
				cancel(signalError{s})
			}
			return
		}
	}()
	return context.WithValue(ctx, interruptsKey{}, &i)
}

// endingInput is an input whose reads end with the context. A read that
// hangs on a terminal or a pipe cannot be taken back: it is left to itself,
// and its input is lost, which is right only because the process is ending.
type endingInput struct {
	ctx  context.Context
	from io.Reader
	buf  []byte
	got  chan readResult
}

type readResult struct {
	n   int
	err error
}

func newEndingInput(ctx context.Context, from io.Reader) *endingInput {
	return &endingInput{ctx: ctx, from: from, buf: make([]byte, 32<<10), got: make(chan readResult, 1)}
}

func (r *endingInput) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	buf := r.buf[:min(len(p), len(r.buf))]
	go func() {
		n, err := r.from.Read(buf)
		r.got <- readResult{n, err}
	}()
	select {
	case g := <-r.got:
		return copy(p, buf[:g.n]), g.err
	case <-r.ctx.Done():
		return 0, fmt.Errorf("read standard input: %w", r.ctx.Err())
	}
}
