package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sparseflow/sparseflow/internal/placement"
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
	fmt.Fprintln(stderr, "sparseflow:", messageOf(err))
	return statusOf(err)
}

// statusOf is the exit status of an error.
func statusOf(err error) int {
	var usage *usageError
	var budget *placement.BudgetError
	var flag *placement.FlagError
	switch {
	case errors.As(err, &usage), errors.As(err, &flag):
		return exitUsage
	case errors.As(err, &budget):
		return exitBudget
	}
	return exitFailed
}

// packages are the words that errors of this module begin with: they say where
// in the program something went wrong, which is no help to who uses it.
var packages = regexp.MustCompile(`(^|: |; )((sparseflow|arch|cache|calibrate|config|convert|cpu|device|disk|engine|hub|kv|lowrank|memory|model|pack|placement|predict|quality|sample|sidecar|source|tensor|token|transfer): )+`)

// messageOf is an error in one line for a person.
func messageOf(err error) string { return plain(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// plain is a message without the names of packages.
func plain(message string) string { return packages.ReplaceAllString(message, "$1") }

// nearest is ", did you mean X?" for the known name that word is nearest to, or
// nothing.
func nearest(word string, known []string, prefix string) string {
	name, ok := suggest.Match(word, known)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, name)
}

// ours is our flag for what llama.cpp calls it, without the hyphens, or "".
func ours(name string) string {
	switch name {
	case "n", "predict", "n-predict":
		return "max-tokens"
	case "p", "prompt":
		return "text"
	case "f":
		return "file"
	case "c", "ctx-size":
		return "ctx"
	case "t":
		return "threads"
	case "s":
		return "seed"
	case "temp":
		return "temperature"
	case "repeat-penalty":
		return "repetition-penalty"
	case "ngl", "gpu-layers", "n-gpu-layers":
		return "budget"
	case "ctk", "ctv", "cache-type-k", "cache-type-v":
		return "kv"
	}
	return ""
}

// tip is what to use in the place of another program's flag, or the nearest
// flag, or nothing.
func tip(cmd *cobra.Command, name string) string {
	if name == "m" || name == "model" {
		return fmt.Sprintf("; the model is the first word: %s MODEL", cmd.CommandPath())
	}
	if own := ours(name); own != "" && cmd.Flags().Lookup(own) != nil {
		return fmt.Sprintf("; use --%s", own)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	return nearest(name, known, "--")
}

// flagError puts a mistake in a flag in words of our own.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		word := unknown.GetSpecifiedShortnames() // as in -temp
		if hint := tip(cmd, word); hint != "" {
			return usagef(cmd, "unknown flag -%s%s", word, hint)
		}
		name := unknown.GetSpecifiedName()
		return usagef(cmd, "unknown flag -%s%s", name, tip(cmd, name))
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		return usagef(cmd, "unknown flag --%s%s", name, tip(cmd, name))
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
