// Command sparseflow runs language models that do not fit in fast memory.
//
// Each verb is a file of its own: run.go, plan.go, pack.go, score.go,
// tokenize.go, list.go. What they share is one file per matter: flags.go (the
// flags of a verb that runs a model), args.go (words of the command line before
// they are flags), settings.go (the same words from the environment and a file),
// prompt.go (where text comes from), terminal.go (what only a terminal is
// shown), stats.go, progress.go, errors.go (exit statuses), help.go.
//
// With --json a verb writes one JSON object of schema 1 to standard output, when
// its work is complete, and nothing else; what is meant for a person goes to
// standard error. An error is such an object too, where none was written.
package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
)

func main() {
	ctx := withSignals(context.Background())
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		stdin:    newEndingInput(ctx, stdin),
		stdout:   &output{to: stdout},
		stderr:   stderr,
		environ:  os.Environ(),
		terminal: isTerminal(stdout),
		random:   func() uint64 { return uint64(rand.Uint32()) }, // short enough to be typed
	}
	return a.execute(ctx, args)
}

// execute carries out a command line and returns the exit status.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := checkVerb(root, args)
	if err == nil {
		root.SetArgs(joinValues(root, args))
		err = root.ExecuteContext(ctx)
	}
	if err = errors.Join(err, a.stdout.err); err != nil && a.wantsJSON(root, args) {
		a.printError(err)
	}
	return report(ctx, a.stderr, err)
}

// app is what the verbs share.
type app struct {
	stdin    *endingInput
	stdout   *output
	stderr   io.Writer
	environ  []string      // KEY=value
	terminal bool          // standard output is one
	random   func() uint64 // a seed where none is given
}

// output remembers the first error, so that a full disk behind standard output
// is noticed without a check at every print.
type output struct {
	to    io.Writer
	wrote bool // anything
	err   error
}

func (o *output) Write(b []byte) (int, error) {
	o.wrote = o.wrote || len(b) > 0
	n, err := o.to.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
