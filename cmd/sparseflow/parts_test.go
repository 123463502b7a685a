package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryVerbIsExplained holds the help texts together: each verb has a
// short and a long text, examples and a group, and no line is too wide.
func TestEveryVerbIsExplained(t *testing.T) {
	a := &app{stdin: newEndingInput(t.Context(), strings.NewReader("")), stdout: &output{to: &bytes.Buffer{}}}
	for _, c := range a.rootCommand().Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if c.Short == "" || c.Long == "" || c.Example == "" || c.GroupID == "" {
			t.Errorf("%s: got no short or long text, example or group", c.Name())
		}
		var help bytes.Buffer
		c.SetOut(&help)
		c.InitDefaultHelpFlag()
		showHelp(c, nil)
		for line := range strings.Lines(help.String()) {
			if n := len(strings.TrimRight(line, "\n")); n > 96 {
				t.Errorf("%s: a line of help has %d columns: %s", c.Name(), n, line)
			}
		}
	}
}

func TestTokenIDs(t *testing.T) {
	for in, want := range map[string][]int32{
		"2,5,7":                  {2, 5, 7},
		"2 5 7":                  {2, 5, 7},
		" 2, 5,\t7\n":            {2, 5, 7},
		"[2, 5, 7]":              {2, 5, 7},
		"0":                      {0},
		"2147483647":             {2147483647},
		"":                       nil,
		",":                      nil,
		"[]":                     nil,
		"-1":                     nil,
		"2147483648":             nil,
		"1.5":                    nil,
		"2;5":                    nil,
		"two":                    nil,
		"9999999999999999999999": nil,
	} {
		var got []int32
		err := tokenIDs(&got).Set(in)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

// TestReport pins the exit statuses to kinds of errors.
func TestReport(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		line   string
	}{
		{nil, 0, ""},
		{errors.New("a: b"), 1, "sparseflow: a: b\n"},
		{errors.New("sparseflow: a: b"), 1, "sparseflow: a: b\n"},
		{errors.Join(errors.New("a"), errors.New("b")), 1, "sparseflow: a; b\n"},
		{usagef(&cobra.Command{Use: "x"}, "a %d", 1), 2, "sparseflow: a 1 (see 'x --help')\n"},
	} {
		var w bytes.Buffer
		if got := report(t.Context(), &w, tc.err); got != tc.status || w.String() != tc.line {
			t.Errorf("%v: got %d, %q, want %d, %q", tc.err, got, w.String(), tc.status, tc.line)
		}
	}
}

// TestFullDisk remembers the first error, and ends in status 1.
func TestFullDisk(t *testing.T) {
	var stderr bytes.Buffer
	if got := run(t.Context(), []string{"list"}, strings.NewReader(""), full{}, &stderr); got != exitFailed {
		t.Errorf("got status %d, want %d", got, exitFailed)
	}
	if want := "sparseflow: no space left\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }
