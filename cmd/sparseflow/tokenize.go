package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
)

// tokenizeFlags are the flags of tokenize.
type tokenizeFlags struct {
	toolFlags
	text  textFlags
	lines bool
	noBOS bool
}

func (a *app) tokenizeCommand() *cobra.Command {
	var f tokenizeFlags
	cmd := &cobra.Command{
		Use:     "tokenize MODEL [TEXT]",
		GroupID: groupTool,
		Short:   "Turn text into token ids",
		Long: `Tokenize prints the token ids of a text, the model's begin-of-text token first
if it uses one. It reads tokenizer files alone, never weights: a directory that
holds nothing else will do for MODEL.

The text is the TEXT argument, --text or --file, else standard input without
its final line end. With --jsonl each line of standard input is a text as a JSON
string, and each line of the output its ids as a JSON list.`,
		Example: `  sparseflow tokenize tiny "Once upon a time"
  sparseflow tokenize tiny --no-bos --json "Once upon a time"
  printf '"Once"\n"upon a time"\n' | sparseflow tokenize tiny --jsonl`,
		Args: argsNamed(1, "MODEL", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tokenize(cmd, &f, args)
		},
	}
	f.text.add(cmd)
	cmd.Flags().BoolVar(&f.lines, "jsonl", false, "one JSON string a line in, one list of ids a line out")
	cmd.Flags().BoolVar(&f.noBOS, "no-bos", false, "leave out the begin-of-text token")
	f.addTo(cmd, true)
	return cmd
}

func (a *app) tokenize(cmd *cobra.Command, f *tokenizeFlags, args []string) error {
	in, err := f.text.read(a, cmd, "TEXT", args[1:], false)
	if err != nil {
		return err
	}
	if f.lines && in.from != "" {
		return usagef(cmd, "got both --jsonl and %s, want --jsonl with standard input alone", in.from)
	}
	t, err := sparseflow.LoadTokenizer(args[0], sparseflow.WithCacheDir(f.cacheDir))
	if err != nil {
		return err
	}
	bos := t.AddsBOS() && !f.noBOS
	if f.lines {
		return a.tokenizeLines(t, bos)
	}
	if in.from == "" {
		if in, err = a.readStdin(); err != nil {
			return err
		}
	}
	ids := t.Encode(in.text, bos)
	return a.tell(f.json, struct {
		Schema int     `json:"schema"`
		IDs    []int32 `json:"ids"`
	}{schema, ids}, "%s", strings.Trim(fmt.Sprint(ids), "[]"))
}

// tokenizeLines answers line by line, so that another program can talk to it.
func (a *app) tokenizeLines(t *sparseflow.Tokenizer, bos bool) error {
	in := bufio.NewReaderSize(a.stdin, 64<<10)
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return out.Flush()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(err, out.Flush())
		}
		var text *string
		if json.Unmarshal(line, &text) != nil || text == nil {
			return errors.Join(fmt.Errorf("standard input: line %d: got %.40q, want a JSON string", n, strings.TrimSpace(string(line))), out.Flush())
		}
		b, err := json.Marshal(t.Encode(*text, bos))
		if err != nil {
			return err
		}
		out.Write(append(b, '\n'))
		// Whoever waits for an answer sends nothing more: let it have it.
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}
