package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
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
	fs.StringVar(&t.file, "file", "", "take the text from this `file`, as it is; -: from standard input")
}

// addIDs declares --ids.
func (t *textFlags) addIDs(cmd *cobra.Command) {
	cmd.Flags().Var(tokenIDs(&t.ids), "ids", "the text as token ids such as 2,5,7, taken as they are")
}

// input is a text from one source. ids are nil unless given as such.
type input struct {
	text string
	ids  []int32
	from string // the source: "PROMPT", "--text"...; empty: none was given
}

// stdinName is the name of standard input where a file or a text is wanted.
const stdinName = "-"

// read takes the text from the one source that was given: arg, what an argument
// called argName said, or a flag. Two are an error. With pipe, and where no
// source was given, it is what comes through standard input if that is a pipe
// or a file; a terminal, or an input that is empty, is no source.
func (t *textFlags) read(a *app, cmd *cobra.Command, argName string, arg []string, pipe bool) (input, error) {
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
		if !pipe || isTerminal(a.stdin.from) {
			return input{}, nil
		}
		in, err := a.readStdin()
		if in.text == "" {
			in.from = ""
		}
		return in, err
	}
	if len(given) > 1 {
		return input{}, usagef(cmd, "got both %s and %s, want one source of the text", given[0], given[1])
	}
	switch in.from = given[0]; {
	case in.from == "--ids":
		in.ids = t.ids
	case in.from == "--text":
		in.text = t.text
	case in.from == "--file":
		var err error
		in.text, err = a.readFile("--file", t.file)
		return in, err
	case in.text == stdinName:
		return a.readStdin()
	}
	return in, nil
}

// readFile reads the file that a flag names, as it is.
func (a *app) readFile(flag, path string) (string, error) {
	if path == stdinName {
		in, err := a.readStdin()
		return in.text, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(b), nil
}

// readUTF8 reads the file that a flag names, which must be text.
func (a *app) readUTF8(flag, path string) (string, error) {
	text, err := a.readFile(flag, path)
	if err == nil && !utf8.ValidString(text) {
		err = fmt.Errorf("%s: %s: got a text that is not UTF-8, want UTF-8", flag, path)
	}
	return text, err
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
