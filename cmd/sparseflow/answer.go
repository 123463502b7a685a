package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/chat"
)

// talkFlags are the flags of verbs that answer through a chat template.
type talkFlags struct {
	system    string
	variables []string
}

func (t *talkFlags) add(cmd *cobra.Command) {
	fs := newGroup("Chat flags:")
	fs.StringVar(&t.system, "system", "", "what the model is told before the conversation, a `text`")
	fs.StringArrayVar(&t.variables, "template-var", nil, "a `variable` of the chat template, such as enable_thinking=false; can be given several times")
	addGroup(cmd, fs)
}

// conversation is one with the flags' system message and a question, if there is
// one.
func (t *talkFlags) conversation(question string) (c sparseflow.Conversation, err error) {
	if t.system != "" {
		c.Messages = append(c.Messages, sparseflow.Message{Role: "system", Content: t.system})
	}
	if question != "" {
		c.Messages = append(c.Messages, sparseflow.Message{Role: "user", Content: question})
	}
	c.Variables = map[string]json.RawMessage{}
	for _, v := range t.variables {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return c, fmt.Errorf("--template-var: got %q, want such as enable_thinking=false", v)
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) { // a text without quotes
			if raw, err = json.Marshal(value); err != nil {
				return c, err
			}
		}
		c.Variables[name] = raw
	}
	return c, nil
}

// rawHint adds to an error of a chat template that there is another way.
func rawHint(err error) error {
	var e *chat.Error
	if errors.As(err, &e) && !e.Raised {
		return fmt.Errorf("%w; run --raw continues a text without the template", err)
	}
	return err
}

// answer has the model answer a conversation. It shows the answer as it comes,
// on a terminal what the model thinks before it too, and returns what came: all
// or, where the context ended, a part.
func (a *app) answer(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, c sparseflow.Conversation) (sparseflow.Message, *sparseflow.Result, error) {
	said := sparseflow.Message{Role: "assistant"}
	endsLine := true
	show := func(print func(string), text string) {
		if !f.model.json {
			print(text)
			endsLine = strings.HasSuffix(text, "\n")
		}
	}
	thinking := func(text string) {
		said.Reasoning += text
		if a.terminal {
			show(a.printDimmed, text)
		}
	}
	r.OnText = func(text string) {
		if said.Content == "" && said.Reasoning != "" && a.terminal {
			show(a.printText, strings.Repeat("\n", 2-min(2, trailing(said.Reasoning, '\n'))))
		}
		said.Content += text
		show(a.printText, text)
	}
	res, err := eng.Chat(ctx, c, r, thinking)
	if !endsLine {
		fmt.Fprintln(a.stdout)
	}
	if err != nil {
		return said, nil, err
	}
	note := cutNote(eng, &res.Result, r.MaxTokens)
	if note == "" && res.Finish == sparseflow.FinishLength {
		note = fmt.Sprintf("the answer ends after %s; --max-tokens allows more", count(r.MaxTokens, "token"))
	}
	return said, &res.Result, a.conclude(eng, f, r, &res.Result, said, note)
}

// trailing is how many bytes of a kind text ends in.
func trailing(text string, of byte) int {
	return len(text) - len(strings.TrimRight(text, string(of)))
}
