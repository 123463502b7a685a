package suggest

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var flags = []string{
	"budget", "gpu-cache-ratio", "mode", "predictor", "quality", "policy", "io", "kv", "device", "vram",
	"ctx", "threads", "seed", "config", "json", "stats", "max-tokens", "temperature", "top-k", "top-p",
	"min-p", "repetition-penalty", "stop", "ignore-eos",
}

func TestMatch(t *testing.T) {
	tests := []struct {
		word string
		want string // "": none
	}{
		{"temprature", "temperature"},
		{"tempreature", "temperature"},
		{"TEMPERATURE", "temperature"},
		{"top_k", "top-k"},
		{"TOP_P", "top-p"},
		{"topk", "top-k"},
		{"top-q", "top-k"}, // as near as top-p, and first
		{"ocnfig", "config"},
		{"bugdet", "budget"},
		{"gpu_cache_ration", "gpu-cache-ratio"},
		{"repetition", ""},
		{"sede", "seed"},
		{"ik", "io"},
		{"xy", ""},
		{"i", "io"},
		{"x", ""},
		{"", ""},
		{"banana", ""},
		{"été", ""},
		{strings.Repeat("temperature", 100_000), ""},
	}
	for _, tt := range tests {
		got, ok := Match(tt.word, flags)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Match(%.20q): got %q, %v, want %q", tt.word, got, ok, tt.want)
		}
	}
	if got, ok := Match("top-k", nil); ok || got != "" {
		t.Errorf("among none: got %q, %v", got, ok)
	}
	if got, _ := Match("a_b_c_d", []string{"a-b-c-d"}); got != "a-b-c-d" {
		t.Errorf("got %q, want '_' to equal '-' beyond the edits allowed", got)
	}
	if got, _ := Match("température", []string{"TEMPÉRATURES"}); got != "TEMPÉRATURES" {
		t.Errorf("got %q, want the name as it is spelled among the known", got)
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "acb", 1},
		{"ab", "ba", 1},
		{"ca", "abc", 3}, // 2 where a swapped pair may be edited again
		{"kitten", "sitting", 3},
		{"aé", "éa", 1},
	}
	for _, tt := range tests {
		if got := distance([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("distance(%q, %q): got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// Symmetric, zero for equal words alone, and 1 after one edit.
func TestDistanceProperties(t *testing.T) {
	word := rapid.SliceOfN(rapid.SampledFrom([]rune("abcé")), 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if back := distance(b, a); back != d {
			t.Errorf("distance is %d one way and %d the other", d, back)
		}
		if (d == 0) != (string(a) == string(b)) || d > max(len(a), len(b)) {
			t.Errorf("got distance %d of %q and %q", d, string(a), string(b))
		}
		at := rapid.IntRange(0, len(a)).Draw(t, "at")
		edited := string(a[:at]) + "x" + string(a[at:])
		if got := distance(a, []rune(edited)); got != 1 {
			t.Errorf("%q and %q: got distance %d, want 1", string(a), edited, got)
		}
	})
}

// Whatever a user types: no panic, and only known names come back.
func FuzzMatch(f *testing.F) {
	for _, word := range []string{"", "top-k", "TOP_K", "temprature", "\xff\xfe", "İ", strings.Repeat("-", 40)} {
		f.Add(word, "top-k")
	}
	f.Fuzz(func(t *testing.T, word, name string) {
		if len(name) > 100 {
			t.Skip("names are the program's own; comparing equals takes length squared")
		}
		got, ok := Match(word, []string{name})
		if ok && got != name || !ok && got != "" {
			t.Errorf("Match(%q, %q): got %q, %v", word, name, got, ok)
		}
		if _, ok := Match(name, []string{name}); !ok {
			t.Errorf("%q does not match itself", name)
		}
	})
}
