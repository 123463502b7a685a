package pattern

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestBadPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"(a":                      "without a closing parenthesis",
		"a)":                      "want one opened before",
		"[a":                      "without a closing bracket",
		"*a":                      "want something to repeat",
		"(a?)*":                   "endless repeat of what can match no text",
		"(?=a)+":                  "repeat of what matches no text",
		`\p{Nope}`:                "general category or script",
		`\p{`:                     "want {name}",
		`\1`:                      "not supported",
		`a\`:                      "backslash at the end",
		"[b-a]":                   "ends before it begins",
		"(?<=a*)b":                "look-behind",
		"(?x:a)":                  `got the setting 'x'`,
		"((ab){1000}){1000}":      "more than 32768 steps",
		"[[:nope:]]":              "general category or script",
		strings.Repeat("(", 1000): "groups in each other",
		strings.Repeat("[", 1000): "sets in each other",
		"\xff":                    "want UTF-8",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got error %v, want %s", pattern, err, want)
		}
	}
}

// TestPatternSteps has patterns that backtracking alone would never finish, on
// texts of strangers: each ends soon, with the matches or with an error.
func TestPatternSteps(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		fails         bool
	}{
		{"(a+)+b", strings.Repeat("a", 100), false},
		{"(a|a)+b", strings.Repeat("a", 200), false},
		{"a*a*a*a*a*b", strings.Repeat("a", 100), false},
		{"(?:a+)+(?=b)", strings.Repeat("a", 100), false},
		{"(a+)+b", strings.Repeat("a", 1<<14), true},
		{"a*a*b", strings.Repeat("a", 1<<16), true},
		{"a++b", strings.Repeat("a", 1<<18), true},
		{`\s+(?!\S)|\s+`, strings.Repeat(" ", 1<<20), false},
		{`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, strings.Repeat(" \n", 1<<19), false},
		{` ?\p{L}+|\s+`, strings.Repeat("x", 1<<20), false},
	} {
		start := time.Now()
		re, err := Compile(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		m := NewMatcher(len(tt.text))
		re.Each(m, tt.text, func(int, int) {})
		if tt.fails != errors.Is(m.Err, ErrSteps) {
			t.Errorf("%s on %d bytes: got error %v", tt.pattern, len(tt.text), m.Err)
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("%s on %d bytes took %v", tt.pattern, len(tt.text), took)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`(?i:'s|'t)|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*\p{L}+|\p{N}{1,3}(?=(\d{3})*\b)|\s+(?!\S)|\s+`, "It's  the 1234\r\n naïve 한국 x")
	f.Add(`(?<=a)b{2,3}?|[^a&&[b-d]]++|(?>a|ab)c$`, "abbb\nacd")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := Compile(pattern)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		at := 0
		m := NewMatcher(len(text))
		re.Each(m, text, func(start, end int) {
			if start < at || end < start || end > len(text) || !utf8.ValidString(text[start:end]) {
				t.Fatalf("%q in %q: got a match at %d to %d behind %d", pattern, text, start, end, at)
			}
			at = end
		})
	})
}

// TestCategories holds the table against the unicode package's, which is of
// another version: they may differ in what that version added or changed.
func TestCategories(t *testing.T) {
	differ := 0
	for name, table := range unicode.Categories {
		set := categoriesOf(name)
		if set == 0 && name != "C" && name != "Cs" && name != "LC" {
			t.Errorf("got no category %s", name)
		}
		for r := rune(0); r <= unicode.MaxRune && set != 0 && name[0] != 'C'; r++ {
			if set.is(r) != unicode.Is(table, r) {
				differ++
			}
		}
	}
	if differ > 60_000 {
		t.Errorf("%d categories of characters differ from the unicode package's", differ)
	}
	for r, want := range map[rune]string{'a': "Ll", '1': "Nd", '½': "No", '漢': "Lo", 0x301: "Mn", '_': "Pc", 0x1C89: "Lu", 0x105C0: "Lo", 0x10FFFF: "Cn"} {
		if !categoriesOf(want).is(r) {
			t.Errorf("%U is not %s", r, want)
		}
	}
}
