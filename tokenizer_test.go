package sparseflow_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// TestLoadTokenizer wants tokenizer files to be enough.
func TestLoadTokenizer(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vocab.json", "merges.txt"} {
		b, err := fs.ReadFile(tiny.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, model := range []string{"tiny", dir} {
		tok, err := sparseflow.LoadTokenizer(model)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tok.Encode("Once upon a time", tok.AddsBOS()), []int32{2, 83, 1703, 553, 262, 583}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", model, got, want)
		}
	}
	if _, err := sparseflow.LoadTokenizer(t.TempDir()); !errors.Is(err, sparseflow.ErrNoTokenizer) {
		t.Errorf("empty directory: got %v, want ErrNoTokenizer", err)
	}
	if _, err := sparseflow.LoadTokenizer(filepath.Join(dir, "nosuch")); err == nil || errors.Is(err, sparseflow.ErrNoTokenizer) {
		t.Errorf("no directory: got %v, want another error", err)
	}
}

// copyTiny is the embedded model in a directory, a file of which is replaced.
func copyTiny(t *testing.T, file, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, tiny.Files); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A tokenizer that cannot be used stops text, before a byte is written, and
// nothing else.
func TestRefusedTokenizer(t *testing.T) {
	dir, cache := copyTiny(t, "vocab.json", "[]"), filepath.Join(t.TempDir(), "cache")
	_, err := sparseflow.Open(t.Context(), dir, sparseflow.WithCacheDir(cache), sparseflow.WithTokenizer())
	if !errors.Is(err, sparseflow.ErrNoTokenizer) || !strings.Contains(err.Error(), "vocab.json") {
		t.Errorf("text: got %v, want ErrNoTokenizer because of vocab.json", err)
	}
	if _, err := os.Stat(cache); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got a cache directory (%v), want nothing written", err)
	}
	if _, err := sparseflow.LoadTokenizer(dir); !errors.Is(err, sparseflow.ErrNoTokenizer) {
		t.Errorf("LoadTokenizer: got %v, want ErrNoTokenizer", err)
	}
	var notices []string
	eng, err := sparseflow.Open(t.Context(), dir, sparseflow.WithCacheDir(cache), sparseflow.WithNotices(func(n string) { notices = append(notices, n) }))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	if !strings.Contains(strings.Join(notices, "\n"), "tokenizer cannot be used") {
		t.Errorf("got notices %q, want one of the tokenizer", notices)
	}
	res, err := eng.Generate(t.Context(), sparseflow.Request{IDs: []int32{2, 83, 1703}, MaxTokens: 2})
	if err != nil || len(res.IDs) != 2 {
		t.Errorf("ids: got %v, %v, want two tokens", res, err)
	}
	for _, r := range []sparseflow.Request{{Prompt: "Once"}, {IDs: []int32{2}, Stop: []string{"."}}} {
		if _, err := eng.Generate(t.Context(), r); !errors.Is(err, sparseflow.ErrNoTokenizer) || !strings.Contains(err.Error(), "vocab.json") {
			t.Errorf("%+v: got %v, want ErrNoTokenizer because of vocab.json", r, err)
		}
	}
}

// What generation_config.json says is offered, and followed by who asks for it
// alone, but for the tokens that end a text.
func TestDefaults(t *testing.T) {
	open := func(generation string) *sparseflow.Engine {
		t.Helper()
		dir := copyTiny(t, "generation_config.json", generation)
		eng, err := sparseflow.Open(t.Context(), dir, sparseflow.WithCacheDir(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { eng.Close() })
		return eng
	}
	plain := open(`{}`)
	if d := plain.Defaults(); d.Sampling != (sparseflow.Sampling{}) || d.Stop != nil {
		t.Errorf("got %+v, want nothing", d)
	}
	prompt := sparseflow.Request{Prompt: "Once upon a time", MaxTokens: 4}
	want, err := plain.Generate(t.Context(), prompt)
	if err != nil || len(want.IDs) != 4 {
		t.Fatalf("got %+v, %v", want, err)
	}
	eng := open(fmt.Sprintf(`{"do_sample":true,"temperature":0.5,"top_p":0.9,"stop_strings":["#"],"eos_token_id":[2,%d]}`, want.IDs[1]))
	if d := eng.Defaults(); d.Sampling != (sparseflow.Sampling{Temperature: 0.5, TopK: 50, TopP: 0.9}) || !slices.Equal(d.Stop, []string{"#"}) {
		t.Errorf("got %+v, want what the file says", d)
	}
	got, err := eng.Generate(t.Context(), prompt)
	if err != nil || !slices.Equal(got.IDs, want.IDs[:1]) || got.Finish != sparseflow.FinishStop {
		t.Errorf("got %+v, %v, want the likeliest tokens %v up to its end", got, err, want.IDs[:1])
	}
}
