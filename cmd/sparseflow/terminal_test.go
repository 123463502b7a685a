package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/models/tiny"
)

// onTerminal runs a command line whose standard output is taken for a
// terminal's.
func onTerminal(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		stdin: newEndingInput(t.Context(), strings.NewReader("")), stdout: &output{to: &stdout}, stderr: &stderr,
		environ: environ, terminal: true, random: func() uint64 { return 1 },
	}
	if status := a.execute(t.Context(), args); status != exitDone {
		t.Fatalf("%v: got status %d: %s", args, status, &stderr)
	}
	return stdout.String()
}

// A terminal shows the prompt before its continuation, dimmed if that is
// wanted, and neither as JSON.
func TestPromptOnTerminal(t *testing.T) {
	args := []string{"run", "tiny", "Once upon a time", "--max-tokens", "4", "--mode", "dense", "--cache-dir", t.TempDir()}
	if got, want := onTerminal(t, nil, args...), "\x1b[2mOnce upon a time\x1b[0m, and then,\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := onTerminal(t, []string{"NO_COLOR=1"}, args...), "Once upon a time, and then,\n"; got != want {
		t.Errorf("without colours: got %q, want %q", got, want)
	}
	args[2] = "--ids=2,83,1703,553,262,583"
	if got, want := onTerminal(t, []string{"NO_COLOR=1"}, args...), "Once upon a time, and then,\n"; got != want {
		t.Errorf("ids: got %q, want %q", got, want)
	}
	if got := onTerminal(t, nil, append(args, "--json")...); !strings.HasPrefix(got, "{") {
		t.Errorf("--json: got %q, want JSON alone", got)
	}
}

// A terminal shows what a model thinks before its answer, dimmed.
func TestThinkingOnTerminal(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, tiny.Files); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ template, terminal string }{
		{"Once upon a time<think>", "\x1b[2m"},
		{"Once upon a time", ""},
	} {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(f.template), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"run", dir, "Hi", "--max-tokens", "4", "--mode", "dense", "--cache-dir", t.TempDir()}
		got := onTerminal(t, nil, args...)
		if !strings.HasPrefix(got, f.terminal) || strings.Contains(got, "\x1b[2m") != (f.terminal != "") || len(got) < 4 {
			t.Errorf("%s: got %q", f.template, got)
		}
	}
}

// On a terminal a model's control characters are shown, and elsewhere kept.
func TestControlCharacters(t *testing.T) {
	const text = "a\x1b[2Jb\r\tc\n\x7f\u009b1mé\x00"
	for terminal, want := range map[bool]string{
		true:  `a\x1b[2Jb\x0d` + "\tc\n" + `\x7f\x9b1mé\x00`,
		false: text,
	} {
		var w bytes.Buffer
		a := &app{stdout: &output{to: &w}, terminal: terminal}
		a.printText(text)
		if w.String() != want {
			t.Errorf("terminal %v: got %q, want %q", terminal, w.String(), want)
		}
	}
}

// Errors that users see name no packages, but keep what is between them.
func TestMessageOf(t *testing.T) {
	for in, want := range map[string]string{
		"placement: budget: got 1":               "budget: got 1",
		"sparseflow: engine: placement: ctx":     "ctx",
		"train tiny: engine: budget: got 1":      "train tiny: budget: got 1",
		"a; hub: find x: got y":                  "a; find x: got y",
		"remodel: x":                             "remodel: x",
		"my model: kernel: x":                    "my model: kernel: x",
		"convert: /model/pack: no such file: ab": "/model/pack: no such file: ab",
	} {
		if got := messageOf(errors.New(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestVersionSaysCgo(t *testing.T) {
	for value, want := range map[string]bool{"0": false, "1": true} {
		info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "CGO_ENABLED", Value: value}}}
		if got := versionOf(info); strings.Contains(got, "cgo: needs libc") != want {
			t.Errorf("CGO_ENABLED=%s: got %q", value, got)
		}
	}
}

// The context of a request is whole pages, and never more than the model's.
func TestContextFor(t *testing.T) {
	for _, c := range []struct{ prompt, more, most, want int }{
		{6, 128, 512, 192}, {64, 128, 512, 192}, {65, 128, 512, 256}, {1, 0, 512, 64}, {0, 0, 512, 64},
		{6, 128, 150, 150}, {6, 128, 100, 100}, {600, 128, 512, 512}, {6, math.MaxInt, 512, 512},
	} {
		if got := contextFor(c.prompt, c.more, c.most); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}
