package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ergochat/readline"

	"github.com/sparseflow/sparseflow/internal/hub"
)

// lineReader gives the lines that a person types, or that come by a pipe.
type lineReader interface {
	// read is the next line without its end, io.EOF where there is none, and
	// errInterrupted where the person gave it up.
	read() (string, error)
	io.Closer
}

var errInterrupted = errors.New("interrupted")

// lines are those of standard input, edited where it is a terminal. Lines of
// earlier conversations are in a file beside the cached models.
func (a *app) lines(ctx context.Context, cacheDir string) (lineReader, error) {
	if !isTerminal(a.stdin.from) {
		return pipe{bufio.NewReader(a.stdin)}, nil
	}
	history := ""
	if dir, err := hub.CacheDir(cacheDir); err == nil && os.MkdirAll(dir, 0o700) == nil {
		history = filepath.Join(dir, "chat_history")
	}
	rl, err := readline.NewFromConfig(&readline.Config{
		Prompt:       ">>> ",
		HistoryFile:  history,
		HistoryLimit: 1000,
		Stdin:        a.stdin.from,
		Stdout:       a.stderr, // standard output is the model's
		Stderr:       a.stderr,
		Undo:         true,
	})
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	fmt.Fprintln(a.stderr, "Type a message and press Enter; /help shows commands, Ctrl-D ends.")
	stop := context.AfterFunc(ctx, func() { rl.Close() })
	return &editor{rl, stop}, nil
}

// editor is a terminal.
type editor struct {
	rl   *readline.Instance
	stop func() bool
}

func (e *editor) read() (string, error) {
	var all strings.Builder
	for {
		line, err := e.rl.ReadLine()
		if errors.Is(err, readline.ErrInterrupt) {
			e.rl.SetPrompt(">>> ")
			return "", errInterrupted
		}
		more, goesOn := strings.CutSuffix(line, `\`)
		all.WriteString(more)
		if err != nil || !goesOn {
			e.rl.SetPrompt(">>> ")
			return all.String(), err
		}
		all.WriteByte('\n')
		e.rl.SetPrompt("... ")
	}
}

func (e *editor) Close() error {
	e.stop()
	return e.rl.Close()
}

// pipe is a file or what another program writes.
type pipe struct{ in *bufio.Reader }

func (p pipe) read() (string, error) {
	line, err := p.in.ReadString('\n')
	if line != "" && errors.Is(err, io.EOF) {
		err = nil // the next read tells
	}
	return strings.TrimRight(line, "\r\n"), err
}

func (p pipe) Close() error { return nil }
