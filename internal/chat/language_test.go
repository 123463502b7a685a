package chat

import (
	"encoding/json"
	"testing"
	"time"
)

// languageFile is testdata/language.json.
type languageFile struct {
	Variables json.RawMessage
	Cases     []struct{ Template, Text, Error string }
}

func readLanguage(t testing.TB) (l languageFile) {
	t.Helper()
	readJSONFile(t, "testdata/language.json", &l)
	return l
}

func languageCases(t testing.TB) (sources []string) {
	for _, c := range readLanguage(t).Cases {
		sources = append(sources, c.Template)
	}
	return sources
}

// Small templates render as jinja2 renders them, or fail where it fails; see
// testdata/language.py.
func TestLanguage(t *testing.T) {
	all := readLanguage(t)
	v, err := fromJSON(all.Variables)
	if err != nil {
		t.Fatal(err)
	}
	c := Conversation{Now: func() time.Time { return time.Date(2026, 11, 30, 12, 34, 56, 0, time.UTC) }}
	for i, k := range v.(*dict).keys {
		w := &jsonWriter{s: &state{}, comma: ",", then: ":"}
		w.value(v.(*dict).values[i], 0)
		c.Variables = append(c.Variables, Variable{k.(string), []byte(w.b.String())})
	}
	for _, want := range all.Cases {
		got := ""
		template, err := Parse(want.Template)
		if err == nil {
			got, err = template.Render(c)
		}
		switch {
		case want.Error == "" && err != nil:
			t.Errorf("%q: got error %v, want %q", want.Template, err, want.Text)
		case want.Error != "" && err == nil:
			t.Errorf("%q: got %q, want error %s", want.Template, got, want.Error)
		case got != want.Text:
			t.Errorf("%q: got\n%q, want\n%q", want.Template, got, want.Text)
		}
	}
}
