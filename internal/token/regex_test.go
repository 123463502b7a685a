package token

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"
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
		if _, err := compileRegex(pattern); err == nil || !strings.Contains(err.Error(), want) {
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
		{cl100k, strings.Repeat(" \n", 1<<19), false},
		{gpt2Pattern, strings.Repeat("x", 1<<20), false},
	} {
		start := time.Now()
		re, err := compileRegex(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		m := matcher{steps: matchSteps(len(tt.text))}
		eachMatch(re, &m, tt.text, func(int, int) {})
		if tt.fails != errors.Is(m.err, errPatternSteps) {
			t.Errorf("%s on %d bytes: got error %v", tt.pattern, len(tt.text), m.err)
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("%s on %d bytes took %v", tt.pattern, len(tt.text), took)
		}
	}
}

// TestTryEncode shows that a text on which a pattern takes too long is an error
// and still is encoded to its end.
func TestTryEncode(t *testing.T) {
	data := strings.Replace(string(readFile(t, "added/tokenizer.json")), `"type": "ByteLevel"`, `"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"}, {"type": "ByteLevel"}]`, 1)
	tok := mustLoad(t, fstest.MapFS{tokenizerFile: {Data: []byte(data)}})
	if _, err := tok.TryEncode("aab", false); err != nil {
		t.Error(err)
	}
	text := strings.Repeat("a", 1<<18) + "b"
	ids, err := tok.TryEncode(strings.Repeat("a", 1<<18)+"c", false)
	if err == nil || !strings.Contains(err.Error(), "too many steps") {
		t.Errorf("got error %v, want one about steps", err)
	}
	if got := tok.Decode(ids, false); len(got) != len(text) {
		t.Errorf("got %d bytes back, want %d", len(got), len(text))
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range preTokenizers {
		for _, pattern := range p.patterns {
			f.Add(pattern, "It's  the 1234\r\n naïve 한국 x")
		}
	}
	f.Add(`(?<=a)b{2,3}?|[^a&&[b-d]]++|(?>a|ab)c$`, "abbb\nacd")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := compileRegex(pattern)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		at := 0
		m := matcher{steps: 1 << 20}
		eachMatch(re, &m, text, func(start, end int) {
			if start < at || end < start || end > len(text) || !utf8.ValidString(text[start:end]) {
				t.Fatalf("%q in %q: got a match at %d to %d behind %d", pattern, text, start, end, at)
			}
			at = end
		})
	})
}
