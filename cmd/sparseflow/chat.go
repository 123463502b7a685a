package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
)

func (a *app) chatCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:     "chat MODEL",
		GroupID: groupRun,
		Short:   "Talk with a model",
		Long: `Chat is a conversation with a model through its chat template. What was said is
kept, its keys and values too, so that only what is new is computed.

On a terminal lines can be edited and earlier ones brought back; a line that ends
with a backslash goes on. Ctrl-C ends an answer, Ctrl-D the conversation. Without
a terminal each line of standard input is a turn. Lines that begin with a slash
are commands:

` + chatHelp + `
With --json each answer is an object on a line of its own.`,
		Example: `  sparseflow chat ./SmolLM2-135M-Instruct
  sparseflow chat model.gguf --budget 6GB --system "Answer in one sentence."
  printf 'Hello!\nAnd in French?\n' | sparseflow chat model.gguf`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.chat(cmd, &f, args[0]) },
	}
	f.talk.add(cmd)
	f.model.add(cmd, sparseflow.Auto)
	f.model.addRun(cmd)
	addSampling(cmd, &f.asked)
	return cmd
}

const chatHelp = `  /system TEXT  tell the model this before the conversation; alone: show it
  /clear        forget the conversation, but for the system message
  /save FILE    write the conversation as JSON, which tokenize --chat reads
  /stats        show what the last answer took
  /help         show this
  /bye          end, as Ctrl-D does
`

// talk is a conversation that goes on.
type talk struct {
	a       *app
	f       *runFlags
	eng     *sparseflow.Engine
	request sparseflow.Request
	so      sparseflow.Conversation
	last    *sparseflow.Stats // of the last answer
}

// chat holds a conversation until the input ends. A model without a chat template
// continues each text by itself, if run has it do so.
func (a *app) chat(cmd *cobra.Command, f *runFlags, model string) error {
	request, err := f.request(a, cmd)
	if err != nil {
		return err
	}
	so, err := f.talk.conversation("")
	if err != nil {
		return usagef(cmd, "%v", err)
	}
	f.model.setBudget(model)
	return a.with(cmd, model, &f.model, false, true, func(eng *sparseflow.Engine) error {
		a.asPublished(cmd, eng, &request)
		_, f.answers = eng.Tokenizer().ChatTemplate("")
		f.answers = f.answers && !f.raw
		if !f.answers && cmd.Name() == "chat" {
			return sparseflow.ErrNoChatTemplate
		}
		if f.answers { // rather than at the first turn
			hello, _ := f.talk.conversation("Hello")
			if _, _, err := eng.Tokenizer().RenderChat(hello); rawHint(err) != err {
				return rawHint(err)
			}
		}
		if f.answers && !cmd.Flags().Changed("max-tokens") {
			request.MaxTokens = eng.Placement().Context
		}
		t := &talk{a: a, f: f, eng: eng, request: request, so: so}
		lines, err := a.lines(cmd.Context(), f.model.cacheDir)
		if err != nil {
			return err
		}
		defer lines.Close()
		return t.hold(cmd.Context(), lines)
	})
}

// hold takes one turn after another.
func (t *talk) hold(ctx context.Context, lines lineReader) error {
	for {
		line, err := lines.read()
		switch {
		case errors.Is(err, errInterrupted):
			fmt.Fprintln(t.a.stderr, "(Ctrl-D or /bye ends the conversation)")
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch text := strings.TrimSpace(line); {
		case text == "":
		case t.f.answers && strings.HasPrefix(text, "/"):
			if t.command(text) {
				return nil
			}
		default:
			if err := t.turn(ctx, line); err != nil {
				return err
			}
		}
	}
}

// turn answers what was said, or continues it. What is wrong with it alone is
// told and forgiven, and what Ctrl-C left of an answer is a part of the
// conversation.
func (t *talk) turn(ctx context.Context, said string) error {
	before := len(t.so.Messages)
	err := interruptible(ctx, func(ctx context.Context) error {
		if !t.f.answers {
			res, err := t.a.generate(ctx, t.eng, t.f, t.request, input{text: said, from: "the terminal"})
			t.took(res)
			return err
		}
		t.so.Messages = append(t.so.Messages, sparseflow.Message{Role: "user", Content: said})
		answer, res, err := t.a.answer(ctx, t.eng, t.f, t.request, t.so)
		t.took(res)
		if err == nil || ctx.Err() != nil && answer.Content+answer.Reasoning != "" {
			t.so.Messages = append(t.so.Messages, answer)
		} else {
			t.so.Messages = t.so.Messages[:before]
		}
		return err
	})
	switch {
	case err == nil:
	case ctx.Err() != nil || t.a.stdout.err != nil || errors.Is(err, sparseflow.ErrNoTokenizer):
		return err
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(t.a.stderr, "(interrupted)")
	default:
		fmt.Fprintln(t.a.stderr, "sparseflow:", messageOf(err))
	}
	return nil
}

// took notes what a text took and, with --stats or on a terminal, tells of it.
func (t *talk) took(res *sparseflow.Result) {
	if res == nil {
		return
	}
	t.last = &res.Stats
	switch {
	case t.f.model.stats:
		t.stats()
	case t.a.terminal && !t.f.model.json:
		fmt.Fprintf(t.a.stderr, "[%s]\n", speedLine(res.Stats))
	}
}

// stats is a table of what the last text took.
func (t *talk) stats() {
	s := t.last
	statsTable(t.a.stderr, *s, t.eng, "context", fmt.Sprintf("%d of %d tokens", s.PromptTokens+s.Tokens, t.eng.Placement().Context))
}

// command carries out a line that begins with a slash, and reports whether the
// conversation is over.
func (t *talk) command(line string) (over bool) {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	tell := func(format string, a ...any) { fmt.Fprintf(t.a.stderr, format+"\n", a...) }
	switch name {
	case "/bye", "/exit", "/quit":
		return true
	case "/help", "/?":
		tell("%s", strings.TrimRight(chatHelp, "\n"))
	case "/clear":
		t.so.Messages = t.so.Messages[:t.systemMessages()]
		tell("(a new conversation)")
	case "/system":
		t.system(rest, tell)
	case "/stats":
		if t.last == nil {
			tell("nothing was answered yet")
			break
		}
		t.stats()
	case "/save":
		if rest == "" {
			tell("want the file to write: /save FILE")
		} else if err := t.save(rest); err != nil {
			tell("sparseflow: %v", err)
		} else {
			tell("(%s written to %s)", count(len(t.so.Messages), "message"), rest)
		}
	default:
		tell("unknown command %q%s", name, nearest(name, []string{"/system", "/clear", "/save", "/stats", "/help", "/bye"}, ""))
	}
	return false
}

// systemMessages is how many messages come before the conversation: one or none.
func (t *talk) systemMessages() int {
	if len(t.so.Messages) > 0 && t.so.Messages[0].Role == "system" {
		return 1
	}
	return 0
}

// system shows or replaces what the model is told first.
func (t *talk) system(text string, tell func(string, ...any)) {
	n := t.systemMessages()
	switch {
	case text != "":
		message := sparseflow.Message{Role: "system", Content: text}
		t.so.Messages = append([]sparseflow.Message{message}, t.so.Messages[n:]...)
	case n > 0:
		tell("%s", visible(t.so.Messages[0].Content))
	default:
		tell("there is no system message; /system TEXT sets one")
	}
}

// save writes the conversation as tokenize --chat and other programs read it.
func (t *talk) save(path string) error {
	type message struct {
		Role      string `json:"role"`
		Content   string `json:"content"`
		Reasoning string `json:"reasoning_content,omitempty"`
	}
	var all struct {
		Messages []message `json:"messages"`
	}
	for _, m := range t.so.Messages {
		all.Messages = append(all.Messages, message{m.Role, m.Content, m.Reasoning})
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
