package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return e.Signal.String() }

// withSignals ends the context at the first SIGINT or SIGTERM. From then on
// they act as they do by default, so the second one kills.
func withSignals(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Reset(syscall.SIGINT, syscall.SIGTERM)
		if s, ok := s.(syscall.Signal); ok {
			cancel(signalError{s})
		}
	}()
	return ctx
}

// interruptible is an input whose reads end with the context. A read that
// hangs on a terminal or a pipe cannot be taken back: it is left to itself,
// and its input is lost, which is right only because the process is ending.
type interruptible struct {
	ctx  context.Context
	from io.Reader
	buf  []byte
	got  chan readResult
}

type readResult struct {
	n   int
	err error
}

func newInterruptible(ctx context.Context, from io.Reader) *interruptible {
	return &interruptible{ctx: ctx, from: from, buf: make([]byte, 32<<10), got: make(chan readResult, 1)}
}

func (r *interruptible) Read(p []byte) (int, error) {
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
