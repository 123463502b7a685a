package chat

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Templates that would take for ever, or all memory, end with one line.
func TestHostile(t *testing.T) {
	deep := strings.Repeat("(", 100_000) + strings.Repeat(")", 100_000)
	for source, want := range map[string]string{
		"{{ " + deep + " }}":                                                                                                                       "nest more than",
		"{{ " + strings.Repeat("not ", 100_000) + "x }}":                                                                                           "nest more than",
		"{{ " + strings.Repeat("-", 100_000) + "1 }}":                                                                                              "nest more than",
		"{{ 1" + strings.Repeat("+1", 100_000) + " }}":                                                                                             "nests its calls",
		"{{ x" + strings.Repeat("|list", 100_000) + " }}":                                                                                          "nests its calls",
		strings.Repeat("{% if 1 %}", 50_000):                                                                                                       "nest more than",
		strings.Repeat("x", maxSource+1):                                                                                                           "bytes",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}":                                                                                          "call itself",
		"{% macro m(x) %}{% call m(x) %}{% endcall %}{{ caller }}{% endmacro %}{{ m(1) }}":                                                         "call itself",
		"{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}":                                                                              "call itself",
		"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}":                                                           "loop without end",
		"{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}":                                                          "without end",
		"{{ range(100000000) }}":                                                                                                                   "at most 100000",
		"{% set n = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}":                                       "grow without end",
		"{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}":                                              "grow without end",
		"{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}":                                    "loop without end",
		"{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}":                             "loop without end",
		"{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x == [n.x[0], 2] or n.x[0] == n.x[1] }}": "loop without end",
		"{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}":                                       "deep",
		"{% set n = namespace(x=(1,)) %}{% for i in range(9999) %}{% set n.x = (n.x,) %}{% endfor %}{{ {n.x: 1} }}":                                "deep",
		"{% set n = namespace() %}{% set n.n = n %}{{ n }}":                                                                                        "deep",
		"{{ 'x' * 999999999 * 999999999 }}":                                                                                                        "grow without end",
		"{{ [1] * 999999999 }}":                                                                                                                    "grow without end",
		"{{ '%999999999d' % 1 }}":                                                                                                                  "smaller",
		"{{ '%*d' % (999999999, 1) }}":                                                                                                             "grow without end",
		"{{ '%.999999999f' % 1.5 }}":                                                                                                               "smaller",
		"{{ '%.99999f' % 1.5 }}":                                                                                                                   "decimals",
		"{{ '{:>999999999}'.format(1) }}":                                                                                                          "smaller",
		"{{ '{:>99999999}'.format(1) ~ '{:>99999999}'.format(1) ~ '{:>99999999}'.format(1) }}":                                                     "grow without end",
		"{{ 'x'.center(999999999) }}":                                                                                                              "grow without end",
		"{{ 'x'.zfill(999999999) }}":                                                                                                               "grow without end",
		"{{ ('a\\n' * 99999)|indent(99999) }}":                                                                                                     "grow without end",
		"{{ [1]|tojson(indent=999999999) }}":                                                                                                       "grow without end",
		"{{ [1]|batch(999999999, 0)|list }}":                                                                                                       "grow without end",
		"{{ [1]|slice(999999999)|list }}":                                                                                                          "want 1 to",
		"{{ ('x' * 99999).replace('', 'y' * 99999) }}":                                                                                             "grow without end",
		"{{ ('x' * 99999)|list|join('y' * 99999) }}":                                                                                               "grow without end",
		"{% for i in range(99999) %}{{ 'x' in 'y' * 9999 }}{% endfor %}":                                                                           "without end",
		"{% set s = 'y' * 99999999 %}{% for i in range(99999) %}{% if 'x' in s %}{% endif %}{% endfor %}":                                          "loop without end",
		"{% set s = 'y' * 99999999 %}{% for i in range(99999) %}{% if s.count('x') %}{% endif %}{% endfor %}":                                      "loop without end",
		"{% set s = 'y' * 99999999 %}{% for i in range(99999) %}{% if s[5] == s %}{% endif %}{% endfor %}":                                         "loop without end",
		"{{ '\\Uab\n12345' }}":                                                                                                                     "no character",
		"{{ raise_exception('a\x1b[2J\nb') }}":                                                                                                     "a [2J b",
		"{{ 2 ** 9999999 }}{{ 1 }}":                                                                                                                "bits",
		"{{ 10 ** 999999999999 }}":                                                                                                                 "bits",
	} {
		begin := time.Now()
		template, err := Parse(source)
		if err == nil {
			_, err = template.Render(Conversation{})
		}
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Text, want) || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 4000 {
			t.Errorf("%.90s: got %.300v, want one line with %q", source, err, want)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%.90s: took %v", source, took)
		} else if testing.Verbose() {
			t.Logf("%.90s: %v", source, took)
		}
	}
}

func TestParseMessages(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                      "list of objects",
		`[1]`:                     "want an object",
		`[] 1`:                    "one value",
		`[{"role": "user"`:        "EOF",
		strings.Repeat("[", 9999): "deep",
		`[{"x": 1` + strings.Repeat("0", 9999) + `}]`: "digits",
	} {
		if _, err := ParseMessages([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", text, err, want)
		}
	}
}

// Whatever a template says, it renders or fails with an *Error.
func FuzzTemplate(f *testing.F) {
	for _, source := range languageCases(f) {
		f.Add(source)
	}
	b := readBundle(f)
	for _, g := range b.Templates {
		f.Add(g.Source)
	}
	c := Conversation{Messages: []Message{NewMessage("user", "hello\nyou", ""), NewMessage("assistant", "hi", "hm")}, AddGenerationPrompt: true}
	c.Tools = []byte(`[{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, null, true]}}}]`)
	f.Fuzz(func(t *testing.T, source string) {
		template, err := Parse(source)
		if err == nil {
			_, err = template.Render(c)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Fatalf("got %q, want one line of the template's", err)
		}
	})
}
