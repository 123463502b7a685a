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
	text   textFlags
	lines  bool
	noBOS  bool
	chat   string
	decode []int32
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
string, and each line of the output its ids as a JSON list.

With --chat it prints what the model's chat template makes of a conversation: what
a model sees. FILE holds a JSON object: messages, and perhaps tools, documents and
add_generation_prompt, which is true if left out; other keys, and those of an
object called kwargs, are variables of the template. --json adds the ids.
With --decode it prints the text of ids.`,
		Example: `  sparseflow tokenize tiny "Once upon a time"
  sparseflow tokenize tiny --no-bos --json "Once upon a time"
  printf '"Once"\n"upon a time"\n' | sparseflow tokenize tiny --jsonl
  sparseflow tokenize tiny --decode 83,1703
  sparseflow tokenize model.gguf --chat conversation.json --json`,
		Args: argsNamed(1, "MODEL", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tokenize(cmd, &f, args)
		},
	}
	f.text.add(cmd)
	cmd.Flags().BoolVar(&f.lines, "jsonl", false, "one JSON string a line in, one list of ids a line out")
	cmd.Flags().BoolVar(&f.noBOS, "no-bos", false, "leave out the begin-of-text token")
	cmd.Flags().StringVar(&f.chat, "chat", "", "render the conversation in this `file`; -: from standard input")
	cmd.Flags().Var(tokenIDs(&f.decode), "decode", "print the text of token ids such as 83,1703")
	f.addTo(cmd, true)
	return cmd
}

func (a *app) tokenize(cmd *cobra.Command, f *tokenizeFlags, args []string) error {
	in, err := f.text.read(a, cmd, "TEXT", args[1:], false)
	if err != nil {
		return err
	}
	var given []string
	for _, name := range []string{"jsonl", "chat", "decode"} {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if in.from != "" {
		given = append(given, in.from)
	}
	if len(given) > 1 {
		return usagef(cmd, "got both %s and %s, want one", given[0], given[1])
	}
	t, err := sparseflow.LoadTokenizer(args[0], sparseflow.WithCacheDir(f.cacheDir))
	if err != nil {
		return err
	}
	switch {
	case f.chat != "":
		return a.renderChat(t, f)
	case f.decode != nil:
		return a.tell(f.json, struct {
			Schema int    `json:"schema"`
			Text   string `json:"text"`
		}{schema, t.Decode(f.decode, false)}, "%s", t.Decode(f.decode, false))
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

// renderChat prints what the chat template makes of a conversation.
func (a *app) renderChat(t *sparseflow.Tokenizer, f *tokenizeFlags) error {
	raw, err := a.readFile("--chat", f.chat)
	if err != nil {
		return err
	}
	c, err := sparseflow.ParseConversation([]byte(raw))
	if err != nil {
		return fmt.Errorf("--chat: %s: %w", f.chat, err)
	}
	text, ids, err := t.RenderChat(c)
	if err != nil {
		return err
	}
	if !f.json {
		a.printText(text)
		return nil
	}
	return a.printJSON(struct {
		Schema int     `json:"schema"`
		Text   string  `json:"text"`
		IDs    []int32 `json:"ids"`
	}{schema, text, ids})
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
