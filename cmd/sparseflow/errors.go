package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/suggest"
)

// The exit statuses. A signal's is 128 and its number, as in a shell.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line, environment or config file is wrong
	exitBudget = 3 // the budget is below the smallest that works
)

// usageError is a mistake in what was asked for, and the command whose help
// tells better.
type usageError struct {
	err  error
	help string // "sparseflow run"; empty: no hint
}

func (e *usageError) Error() string {
	if e.help == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%v (see '%s --help')", e.err, e.help)
}

func (e *usageError) Unwrap() error { return e.err }

// usagef is a usageError of cmd.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), cmd.CommandPath()}
}

// report prints what went wrong in one line and returns the exit status.
func report(ctx context.Context, stderr io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	var s signalError
	if errors.As(context.Cause(ctx), &s) {
		fmt.Fprintln(stderr, "sparseflow: ended by", s)
		return 128 + int(s.Signal)
	}
	msg := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "sparseflow: ")
	fmt.Fprintln(stderr, "sparseflow:", msg)
	var usage *usageError
	var budget *sparseflow.BudgetError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &budget):
		return exitBudget
	}
	return exitFailed
}

// nearest is ", did you mean X?" for the known name that word is nearest to, or
// nothing.
func nearest(word string, known []string, prefix string) string {
	name, ok := suggest.Match(word, known)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, name)
}

// checkVerb finds a misspelt verb before its flags, which no verb knows, are
// complained about.
func checkVerb(root *cobra.Command, args []string) error {
	if _, _, err := root.Find(args); err == nil {
		return nil
	}
	word := ""
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			word = arg
			break
		}
	}
	return usagef(root, "unknown command %q%s", word, nearest(word, verbs(root), ""))
}

// verbs are the names of the commands under root that help shows.
func verbs(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// flagError puts a mistake in a flag in words of our own.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usagef(cmd, "unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		return usagef(cmd, "unknown flag --%s%s", name, nearest(name, known, "--"))
	case errors.As(err, &invalid):
		return usagef(cmd, "--%s: %v", invalid.GetFlag().Name, valueError(invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap()))
	case errors.As(err, &missing):
		return usagef(cmd, "--%s: got no value, want one", missing.GetFlag().Name)
	}
	return usagef(cmd, "%v", err)
}

// valueError says what a flag's value should have been. The flag types of this
// program say so themselves; those of pflag quote strconv.
func valueError(f *pflag.Flag, value string, err error) error {
	want := ""
	switch f.Value.Type() {
	case "bool":
		want = "true or false"
	case "int":
		want = "a whole number"
	case "uint64":
		want = "a whole number of at least 0"
	case "float32":
		want = "a number"
	default:
		return err
	}
	return fmt.Errorf("got %q, want %s", value, want)
}
