package main

import (
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
