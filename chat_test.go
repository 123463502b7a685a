package sparseflow_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// talker is a directory with tiny and a chat template.
func talker(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, tiny.Files); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestParseConversation(t *testing.T) {
	dir := talker(t, `{{ messages[0].content }}|{{ x }}|{{ y }}|{{ tools|tojson }}|{{ strftime_now('%Y') }}|{{ eos_token }}|{{ 'a' if add_generation_prompt }}`)
	tok, err := sparseflow.LoadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"messages": [{"role": "user", "content": "q"}]}`:                                                      "q|||null|2026|</s>|a",
		`[{"role": "user", "content": "q"}]`:                                                                    "q|||null|2026|</s>|a",
		`{"messages": [{"content": [1, {"b": 2, "a": null}]}], "x": 1, "kwargs": {"y": [true]}, "tools": null}`: "[1, {'b': 2, 'a': None}]|1|[True]|null|2026|</s>|a",
		`{"messages": [{"content": "q"}], "tools": [{"z": 1, "a": 2}], "add_generation_prompt": false}`:         `q|||[{"z": 1, "a": 2}]|2026|</s>|`,
	} {
		c, err := sparseflow.ParseConversation([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		c.Now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		got, ids, err := tok.RenderChat(c)
		if err != nil || got != want || !slices.Equal(ids, tok.Encode(want, false)) {
			t.Errorf("%s: got %q, %v, %v, want %q", text, got, ids, err, want)
		}
	}
	for text, want := range map[string]string{
		`{}`: "without messages", `3`: "no conversation", `{"messages": 3}`: "messages:", `{"messages": [3]}`: "message 1", `{"messages"`: "no conversation",
		`{"messages": [{}, {"a": 1}], "tools": 3, "kwargs": [1]}`: "kwargs:",
	} {
		c, err := sparseflow.ParseConversation([]byte(text))
		if err == nil {
			_, _, err = tok.RenderChat(c)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	bare, err := sparseflow.LoadTokenizer("tiny")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := bare.RenderChat(sparseflow.Conversation{}); !errors.Is(err, sparseflow.ErrNoChatTemplate) {
		t.Errorf("got %v of a model without a template", err)
	}
}

// A conversation goes on, and each turn is what it would be by itself. Reasoning
// is told apart from the answer.
func TestChat(t *testing.T) {
	dir := talker(t, `{% for m in messages %}{{ m.role }}: {{ m.content }}
{% endfor %}{% if add_generation_prompt %}Once upon a time<think>{% endif %}`)
	e, err := sparseflow.Open(t.Context(), dir, sparseflow.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var c sparseflow.Conversation
	for turn := range 3 {
		c.Messages = append(c.Messages, sparseflow.Message{Role: "user", Content: fmt.Sprint("turn ", turn)})
		thought := ""
		got, err := e.Chat(t.Context(), c, sparseflow.Request{MaxTokens: 9}, func(s string) { thought += s })
		if err != nil {
			t.Fatal(err)
		}
		_, ids, err := e.Tokenizer().RenderChat(c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Generate(t.Context(), sparseflow.Request{IDs: ids, MaxTokens: 9})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.PromptIDs, ids) || !slices.Equal(got.IDs, want.IDs) || got.Answer.Reasoning != want.Text || thought != want.Text || got.Answer.Content != "" {
			t.Errorf("turn %d: got %v and reasoning %q, want %v and %q", turn, got.IDs, got.Answer.Reasoning, want.IDs, want.Text)
		}
		if turn > 0 && got.Stats.Reused == 0 {
			t.Errorf("turn %d: nothing of the turn before is used", turn)
		}
		c.Messages = append(c.Messages, got.Answer)
	}
}
