package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/cwriter"
)

// textFlags are the ways to hand a text to a verb besides an argument.
type textFlags struct {
	text, file string
	ids        []int32
}

// add declares --text and --file.
func (t *textFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&t.text, "text", "", "the text, a `string`")
	fs.StringVar(&t.file, "file", "", "take the text from this `file`, as it is")
}

// addIDs declares --ids.
func (t *textFlags) addIDs(cmd *cobra.Command) {
	cmd.Flags().Var(tokenIDs{&t.ids}, "ids", "the text as token ids such as 2,5,7, taken as they are")
}

// input is a text from one source. ids are nil unless given as such.
type input struct {
	text string
	ids  []int32
	from string // the source: "PROMPT", "--text"...; empty: none was given
}

// read takes the text from the one source that was given: arg, what an argument
// called argName said, or a flag. Two are an error.
func (t *textFlags) read(cmd *cobra.Command, argName string, arg []string) (input, error) {
	var in input
	var given []string
	if len(arg) > 0 {
		given = append(given, argName)
		in.text = arg[0]
	}
	for _, name := range []string{"text", "file", "ids"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			given = append(given, "--"+name)
		}
	}
	if len(given) == 0 {
		return input{}, nil
	}
	if len(given) > 1 {
		return input{}, usagef(cmd, "got both %s and %s, want one source of the text", given[0], given[1])
	}
	switch in.from = given[0]; in.from {
	case "--text":
		in.text = t.text
	case "--ids":
		in.ids = t.ids
	case "--file":
		b, err := os.ReadFile(t.file)
		if err != nil {
			return input{}, fmt.Errorf("--file: %w", err)
		}
		in.text = string(b)
	}
	return in, nil
}

// readStdin takes the text from standard input, without the line end that a
// shell's echo puts after it.
func (a *app) readStdin() (input, error) {
	b, err := io.ReadAll(a.stdin)
	if err != nil {
		return input{}, err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	return input{text: text, from: "standard input"}, nil
}

// isTerminal reports whether f, a file, is a terminal.
func isTerminal(f any) bool {
	fd, ok := f.(interface{ Fd() uintptr })
	return ok && cwriter.IsTerminal(int(fd.Fd()))
}
