package sparseflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/chat"
)

// Message is one message of a conversation.
type Message struct {
	Role      string // such as system, user or assistant
	Content   string // its text
	Reasoning string // what the model thought before it answered
	// JSON, if not nil, is the whole message as a JSON object, for what the
	// other fields cannot say, such as tool calls; they are not looked at then.
	JSON json.RawMessage
}

// Conversation is what a chat template makes a prompt of.
type Conversation struct {
	Messages []Message // in their order
	// Tools and Documents are JSON lists for the template, nil for none.
	Tools, Documents json.RawMessage
	// Variables are further ones of the template, such as enable_thinking.
	Variables map[string]json.RawMessage
	// NoGenerationPrompt leaves out the beginning of the model's answer.
	NoGenerationPrompt bool
	// Now is the time for templates that tell the model the date; zero: now.
	Now time.Time
}

// ParseConversation reads a conversation from a JSON object with messages and
// perhaps tools, documents and add_generation_prompt (which is true if left out).
// All other keys, and those of an object called kwargs, are variables of the
// template. A JSON list is the messages alone.
func ParseConversation(text []byte) (Conversation, error) {
	var c Conversation
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		var typed *json.UnmarshalTypeError
		if !errors.As(err, &typed) || typed.Value != "array" {
			return c, fmt.Errorf("got no conversation, want a JSON object with messages: %w", err)
		}
		fields = map[string]json.RawMessage{"messages": text}
	}
	take := func(name string, v any) error {
		raw, given := fields[name]
		delete(fields, name)
		if !given || string(raw) == "null" {
			return nil
		}
		if err := json.Unmarshal(raw, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	var messages []json.RawMessage
	generate := true
	err := errors.Join(take("messages", &messages), take("tools", &c.Tools), take("documents", &c.Documents),
		take("add_generation_prompt", &generate), take("kwargs", &c.Variables))
	if err != nil {
		return c, err
	}
	if messages == nil {
		return c, errors.New("got a conversation without messages, want some")
	}
	for _, m := range messages {
		c.Messages = append(c.Messages, Message{JSON: m})
	}
	if c.Variables == nil {
		c.Variables = map[string]json.RawMessage{}
	}
	for name, value := range fields {
		c.Variables[name] = value
	}
	c.NoGenerationPrompt = !generate
	return c, nil
}

// input is the conversation as package chat takes it.
func (c Conversation) input(roles map[string]string) (chat.Conversation, error) {
	in := chat.Conversation{Tools: null(c.Tools), Documents: null(c.Documents), Roles: roles, AddGenerationPrompt: !c.NoGenerationPrompt}
	for name, value := range c.Variables {
		in.Variables = append(in.Variables, chat.Variable{Name: name, JSON: value})
	}
	if !c.Now.IsZero() {
		in.Now = func() time.Time { return c.Now }
	}
	for i, m := range c.Messages {
		if m.JSON == nil {
			in.Messages = append(in.Messages, chat.NewMessage(m.Role, m.Content, m.Reasoning))
			continue
		}
		parsed, err := chat.ParseMessages(slices.Concat([]byte("["), m.JSON, []byte("]")))
		if err != nil {
			return in, fmt.Errorf("message %d: %w", i+1, err)
		}
		in.Messages = append(in.Messages, parsed...)
	}
	return in, nil
}

// null is a JSON value, nothing where it is null.
func null(v json.RawMessage) []byte {
	if string(v) == "null" {
		return nil
	}
	return v
}

// ErrNoChatTemplate is the error of a conversation with a model whose files have
// no chat template: it continues texts.
var ErrNoChatTemplate = errors.New("sparseflow: got a conversation for a model without a chat template, want a text to continue (--raw)")

// template is the chat template for a conversation. Files can have another one
// for those with tools.
func (t *Tokenizer) template(tools bool) (*chat.Template, error) {
	source, ok := t.ChatTemplate("tool_use")
	if !ok || !tools {
		if source, ok = t.ChatTemplate(""); !ok {
			return nil, ErrNoChatTemplate
		}
	}
	return chat.Parse(source)
}

// RenderChat returns the text that the model's chat template makes of a
// conversation, and its ids.
func (t *Tokenizer) RenderChat(c Conversation) (text string, ids []int32, err error) {
	template, err := t.template(null(c.Tools) != nil)
	if err != nil {
		return "", nil, err
	}
	return t.render(template, c)
}

func (t *Tokenizer) render(template *chat.Template, c Conversation) (text string, ids []int32, err error) {
	in, err := c.input(t.Roles())
	if err != nil {
		return "", nil, err
	}
	if text, err = template.Render(in); err != nil {
		return "", nil, err
	}
	ids, err = t.TryEncode(text, false) // the template writes special tokens itself
	return text, ids, err
}

// ChatResult is an answer.
type ChatResult struct {
	Result         // Text is all that the model wrote, but for special tokens
	Answer Message // as it goes into the conversation
}

// Chat answers a conversation through the model's chat template. The request's
// Prompt and IDs are not looked at; its OnText gets the answer as it comes, and
// onThought, if not nil, the reasoning before it. What the conversation shares
// with the one that the engine answered last is not computed again.
func (e *Engine) Chat(ctx context.Context, c Conversation, r Request, onThought func(string)) (*ChatResult, error) {
	if e.tok == nil {
		return nil, e.noTok
	}
	template, err := e.tok.template(null(c.Tools) != nil)
	if err != nil {
		return nil, err
	}
	prompt, ids, err := e.tok.render(template, c)
	switch {
	case err != nil:
		return nil, err
	case len(ids) == 0:
		return nil, errors.New("sparseflow: chat: the template makes an empty prompt of this conversation")
	}
	tags := template.Tags(e.tok.Roles())
	split := chat.NewSplitter(tags, prompt)
	answer := Message{Role: "assistant"}
	tell := func(thought, said string) {
		answer.Reasoning += thought
		answer.Content += said
		if thought != "" && onThought != nil {
			onThought(thought)
		}
		if said != "" && r.OnText != nil {
			r.OnText(said)
		}
	}
	inner := r
	inner.Prompt, inner.IDs = "", ids
	inner.OnText = func(text string) { tell(split.Push(text)) }
	res, err := e.generate(ctx, inner, e.endOfTurn(tags), tags.Has)
	if err != nil {
		return nil, err
	}
	tell(split.Flush())
	return &ChatResult{Result: *res, Answer: answer}, nil
}

// endOfTurn is the special token that the template puts behind an answer, if
// there is one.
func (e *Engine) endOfTurn(tags chat.Tags) []int32 {
	for _, id := range e.tok.Encode(tags.End, false) {
		switch text, _ := e.tok.Token(id); {
		case e.tok.IsSpecial(id) && !tags.Has(text):
			return []int32{id}
		case text != "\n" && text != " ":
			return nil
		}
	}
	return nil
}
