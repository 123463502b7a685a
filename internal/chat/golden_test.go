package chat

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The reference's renderings lie beside the checkout.
const (
	sharedTemplates = "../../../shared/chat-templates"
	sharedGolden    = "../../../shared/golden/chat"
)

// conversation is a case of conversations.json.
type conversation struct {
	Name                string
	Messages            json.RawMessage
	Tools               json.RawMessage
	AddGenerationPrompt bool `json:"add_generation_prompt"`
	Kwargs              map[string]json.RawMessage
}

// golden is what the reference makes of all conversations with one template.
type golden struct {
	Template string
	BOS      *string `json:"bos_token"`
	EOS      *string `json:"eos_token"`
	Now      string
	Cases    []struct {
		Conversation string
		Text         *string
		Error        string
		ErrorType    string `json:"error_type"`
	}
}

func (c conversation) input(t *testing.T, g golden) Conversation {
	t.Helper()
	now, err := time.Parse("2006-01-02T15:04:05", g.Now)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := ParseMessages(c.Messages)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	in := Conversation{Messages: messages, Tools: c.Tools, AddGenerationPrompt: c.AddGenerationPrompt, Now: func() time.Time { return now }, Roles: map[string]string{}}
	for name, text := range map[string]*string{"bos_token": g.BOS, "eos_token": g.EOS} {
		if text != nil {
			in.Roles[name] = *text
		}
	}
	for name, value := range c.Kwargs {
		in.Variables = append(in.Variables, Variable{name, value})
	}
	return in
}

func readJSONFile(t testing.TB, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// bundle is the templates that the project may carry.
type bundle struct {
	Conversations []conversation
	Templates     map[string]struct {
		golden
		Source string
	}
}

func readBundle(t testing.TB) (b bundle) {
	t.Helper()
	f, err := os.Open("testdata/templates.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(z).Decode(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Templates of models under free licences render as the reference renders them.
func TestTemplates(t *testing.T) {
	b := readBundle(t)
	for name, g := range b.Templates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGolden(t, g.Source, g.golden, b.Conversations)
		})
	}
}

// The others' do too. They may not be copied.
func TestShared(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(sharedGolden, "*.json"))
	if len(files) == 0 {
		t.Skipf("%s is not beside this checkout", sharedGolden)
	}
	b := readBundle(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if _, have := b.Templates[name]; have || name == "conversations" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var g golden
			readJSONFile(t, file, &g)
			source, err := os.ReadFile(filepath.Join(sharedTemplates, g.Template))
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, string(source), g, b.Conversations)
		})
	}
}

func checkGolden(t *testing.T, source string, g golden, conversations []conversation) {
	template, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) != len(conversations) {
		t.Fatalf("got %d renderings of %d conversations", len(g.Cases), len(conversations))
	}
	for i, want := range g.Cases {
		c := conversations[i]
		text, err := template.Render(c.input(t, g))
		var e *Error
		switch {
		case c.Name != want.Conversation:
			t.Fatalf("got the rendering of %s for %s", want.Conversation, c.Name)
		case want.Text != nil && err != nil:
			t.Errorf("%s: %v, want a text", c.Name, err)
		case want.Text != nil && text != *want.Text:
			t.Errorf("%s: got\n%q, want\n%q", c.Name, text, *want.Text)
		case want.Text == nil && err == nil:
			t.Errorf("%s: got a text, want %s: %s", c.Name, want.ErrorType, want.Error)
		case want.Text == nil && errors.As(err, &e) && e.Raised != (want.ErrorType == "TemplateError"):
			t.Errorf("%s: got %v, want %s: %s", c.Name, err, want.ErrorType, want.Error)
		case want.ErrorType == "TemplateError" && !strings.Contains(err.Error(), strings.TrimSpace(want.Error)):
			t.Errorf("%s: got %v, want its message %s", c.Name, err, want.Error)
		}
	}
}
