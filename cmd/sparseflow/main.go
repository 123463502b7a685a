// Command sparseflow runs language models that do not fit in fast memory.
//
// Each verb is a file of its own: run.go, plan.go, pack.go, score.go,
// tokenize.go, list.go. What they share is one file per matter: flags.go (the
// flags of a verb that runs a model), settings.go (the same words from the
// environment and a file), prompt.go (where text comes from), stats.go,
// progress.go, memory.go, errors.go (exit statuses), help.go.
//
// With --json a verb writes one JSON object of schema 1 to standard output and
// nothing else; what is meant for a person goes to standard error.
package main

import (
	"context"
	"errors"
	"io"
	"os"
)

func main() {
	ctx := withSignals(context.Background())
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		stdin:   newInterruptible(ctx, stdin),
		stdout:  &output{to: stdout},
		stderr:  stderr,
		environ: os.Environ(),
	}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := checkVerb(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	return report(ctx, a.stderr, errors.Join(err, a.stdout.err))
}

// app is what the verbs share.
type app struct {
	stdin   *interruptible
	stdout  *output
	stderr  io.Writer
	environ []string // KEY=value
}

// output remembers the first error, so that a full disk behind standard output
// is noticed without a check at every print.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
