package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vbauerster/mpb/v8/decor"
)

// Work is counted in its own unit: layers are no bytes.
func TestProgressUnits(t *testing.T) {
	for what, want := range map[string]string{
		"fitting":                   "3 of 24 layers",
		"training layer 4 of 24: x": "3 of 24 layers",
		"running the model":         "3 of 24 tokens",
		"evaluating":                "3 of 24 tokens",
		"measuring quality":         "3 of 24 passes",
		"loading":                   "3.0b of 24.0b",
	} {
		got, _ := counters(what).Decor(decor.Statistics{Current: 3, Total: 24})
		if strings.TrimSpace(strings.ReplaceAll(got, " b", "b")) != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

// What is being done takes the place of what was, and leaves nothing behind.
func TestSay(t *testing.T) {
	var w bytes.Buffer
	p := &progress{to: &w, terminal: true}
	p.say("measuring")
	p.say("dense")
	p.close()
	if got, want := w.String(), "\rmeasuring\r         \r\rdense\r     \r"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.Reset()
	p = &progress{to: &w}
	if p.say("measuring"); w.Len() > 0 {
		t.Errorf("no terminal: got %q, want nothing", w.String())
	}
}
