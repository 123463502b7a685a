package chat

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Template is a chat template. It never changes: it may be rendered by any
// number of goroutines at once.
type Template struct {
	source string
	body   []stmt
}

// Parse reads a template. What is wrong with it is an *Error.
func Parse(source string) (t *Template, err error) {
	defer new(state).recovered(&err)
	if len(source) > maxSource {
		return nil, &Error{Text: fmt.Sprintf("got a template of %d bytes, want at most %d", len(source), maxSource)}
	}
	p := &parser{tokens: lex(strings.ToValidUTF8(source, "\ufffd"))}
	body, _ := p.body()
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return &Template{source, body}, nil
}

// recovered turns the panic with an *Error that a failure is into err.
func (s *state) recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		*err = r
	default:
		panic(r)
	}
}

// Render is what the template makes of a conversation. An error of the
// template, or of what it was given, is an *Error.
func (t *Template) Render(c Conversation) (text string, err error) {
	s := &state{tables: builtins, out: new(strings.Builder), now: c.Now, scope: &scope{}}
	if s.now == nil {
		s.now = time.Now
	}
	defer s.recovered(&err)
	if err := c.define(s); err != nil {
		return "", err
	}
	s.scope = &scope{outer: s.scope}
	runAll(s, t.body)
	return s.out.String(), nil
}

// Conversation is what a template is given.
type Conversation struct {
	Messages []Message
	// Tools and Documents are JSON lists, or empty for none.
	Tools, Documents []byte
	// AddGenerationPrompt asks for the beginning of the model's answer.
	AddGenerationPrompt bool
	// Roles are special tokens such as bos_token by name.
	Roles map[string]string
	// Variables are further ones, JSON values by name.
	Variables []Variable
	// Now is the clock of strftime_now; without one it is the system's.
	Now func() time.Time
}

// Variable is a variable for a template, with its value as JSON.
type Variable struct {
	Name string
	JSON []byte
}

// Message is one message: a JSON object with its keys in order.
type Message struct{ fields *dict }

// reasoningFields are the names under which a message's reasoning is passed.
// The first is the one that templates read.
var reasoningFields = [...]string{"reasoning_content", "thinking", "reasoning"}

// NewMessage is a message of text.
func NewMessage(role, content, reasoning string) Message {
	s, d := &state{}, newDict()
	d.set(s, "role", role)
	d.set(s, "content", content)
	if reasoning != "" {
		d.set(s, reasoningFields[0], reasoning)
	}
	return normal(s, d)
}

// ParseMessages reads a JSON list of messages.
func ParseMessages(text []byte) ([]Message, error) {
	v, err := fromJSON(text)
	if err != nil {
		return nil, err
	}
	l, ok := v.(*list)
	if !ok {
		return nil, fmt.Errorf("got messages that are a %s, want a list of objects", typeName(v))
	}
	var out []Message
	for i, item := range l.items {
		d, ok := item.(*dict)
		if !ok {
			return nil, fmt.Errorf("message %d: got a %s, want an object", i+1, typeName(item))
		}
		out = append(out, normal(&state{}, d))
	}
	return out, nil
}

// normal is a message as transformers hands it to templates: without keys that
// are null, and its reasoning under the names that templates read.
func normal(s *state, d *dict) Message {
	out := newDict()
	reasoning := any(nil)
	for _, n := range slices.Backward(reasoningFields[:]) {
		if v, ok := d.get(s, n); ok && v != nil {
			reasoning = v
		}
	}
	if reasoning != nil {
		out.set(s, "thinking", reasoning)
	}
	for i, k := range d.keys {
		if v := d.values[i]; v != nil {
			out.set(s, k, v)
		}
	}
	if reasoning != nil {
		out.set(s, reasoningFields[0], reasoning)
	}
	return Message{out}
}

// define sets the variables of a conversation.
func (c Conversation) define(s *state) error {
	for name, text := range c.Roles {
		s.scope.set(name, text)
	}
	for _, v := range append([]Variable{{"tools", c.Tools}, {"documents", c.Documents}}, c.Variables...) {
		var value any
		if len(v.JSON) > 0 {
			var err error
			if value, err = fromJSON(v.JSON); err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
		}
		s.scope.set(v.Name, value)
	}
	messages := make([]any, len(c.Messages))
	for i, m := range c.Messages {
		messages[i] = m.fields
	}
	s.scope.set("messages", newList(messages))
	s.scope.set("add_generation_prompt", c.AddGenerationPrompt)
	return nil
}
