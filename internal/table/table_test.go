package table

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	var w strings.Builder
	tab := Table{Right: []bool{false, true}}
	tab.Add("a", "1", "x")
	tab.Add("été", "100")
	tab.Print(&w)
	if want := "a      1  x\nété  100\n"; w.String() != want {
		t.Errorf("got %q, want %q", w.String(), want)
	}
}

func TestColumns(t *testing.T) {
	same := func(s string) string { return s }
	columns := []Column[string]{{Name: "one", Cell: same}, {Name: "two", Wide: true, Cell: func(s string) string { return s + s }}}
	for wide, want := range map[bool]string{false: "one\na\nbc\n", true: "one   two\na      aa\nbc   bcbc\n"} {
		var w strings.Builder
		tab := Numbers(1)
		Columns(tab, []string{"a", "bc"}, columns, wide)
		if tab.Print(&w); w.String() != want {
			t.Errorf("wide %v: got\n%s\nwant\n%s", wide, w.String(), want)
		}
	}
}

// Wrapping changes nothing but where lines end.
func TestWrap(t *testing.T) {
	text := strings.Repeat("größer als gedacht, ", 20) + strings.Repeat("x", 100) + " end"
	got := Wrap(text, "  ")
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > Width && !strings.Contains(line, "xxx") {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
	if strings.Join(strings.Fields(got), " ") != text {
		t.Errorf("got other words:\n%s", got)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{1.234: "1.23", 12.34: "12.3", 123.4: "123"} {
		if got := Figures(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
	if got := Count(1, "token") + Count(2, "token") + Share(0.123); got != "1 token2 tokens12.3 %" {
		t.Errorf("got %s", got)
	}
}
