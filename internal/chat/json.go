package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fromJSON is a JSON value with the order of its keys.
func fromJSON(text []byte) (v any, err error) {
	s := &state{}
	defer s.recovered(&err)
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if v, err = s.readJSON(in, 0); err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("got something behind the JSON value, want one value")
	}
	return v, nil
}

func (s *state) readJSON(in *json.Decoder, depth int) (any, error) {
	if depth > maxValue/2 {
		return nil, fmt.Errorf("got JSON that nests more than %d deep", maxValue/2)
	}
	t, err := in.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return number(string(t))
	case json.Delim:
		if t == '[' {
			items := []any{}
			for in.More() {
				v, err := s.readJSON(in, depth+1)
				if err != nil {
					return nil, err
				}
				items = append(items, v)
			}
			_, err = in.Token()
			return newList(items), err
		}
		d := newDict()
		for in.More() {
			k, err := in.Token()
			if err != nil {
				return nil, err
			}
			v, err := s.readJSON(in, depth+1)
			if err != nil {
				return nil, err
			}
			d.set(s, k, v)
		}
		_, err = in.Token()
		return d, err
	}
	return t, nil
}

// number is a number as Python's json reads it.
func number(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if math.IsInf(f, 0) {
			err = nil
		}
		return f, err
	}
	n, ok := new(big.Int), false
	if len(text) <= maxDigits {
		_, ok = n.SetString(text, 10)
	}
	if !ok {
		return nil, fmt.Errorf("got the number %.40s, want one of at most %d digits", text, maxDigits)
	}
	return small(n), nil
}

// jsonWriter writes what Python's json.dumps gives.
type jsonWriter struct {
	s           *state
	b           strings.Builder
	ascii       bool
	sorted      bool
	indent      string
	lines       bool // one item a line
	comma, then string
}

// toJSON is the filter as transformers has it: without escapes for HTML and
// with the keys in their order.
func toJSON(s *state, v any, in []any) any {
	w := &jsonWriter{s: s, ascii: truth(in[0]), sorted: truth(in[3]), comma: ", ", then: ": "}
	if in[1] != nil {
		w.lines, w.comma = true, ","
		if text, ok := asString(in[1]); ok {
			w.indent = text
		} else {
			w.indent = s.pad("", max(0, s.int(in[1])), ' ', '<')
		}
	}
	if in[2] != nil {
		pair := s.collect(in[2])
		if len(pair) != 2 {
			panic(s.errorf("tojson: got %d separators, want 2", len(pair)))
		}
		w.comma, w.then = s.text(pair[0]), s.text(pair[1])
	}
	w.value(v, 0)
	return w.b.String()
}

func (w *jsonWriter) put(text string) {
	w.s.built(len(text))
	w.b.WriteString(text)
}

func (w *jsonWriter) value(v any, depth int) {
	w.s.tooDeep(depth)
	w.s.step(1)
	switch v := v.(type) {
	case nil:
		w.put("null")
	case bool:
		w.put(strconv.FormatBool(v))
	case int64, *big.Int:
		w.put(w.s.str(v))
	case float64:
		w.put(jsonFloat(v))
	case string:
		w.string(v)
	case markup:
		w.string(string(v))
	case *list:
		if v.kind > isTuple {
			panic(w.s.errorf("tojson: got a %s, want what JSON has", typeName(v)))
		}
		w.group("[", "]", len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		order := make([]any, len(v.keys))
		for i := range order {
			order[i] = int64(i)
		}
		if w.sorted {
			order = w.s.sorted(order, false, func(i any) any { return v.keys[i.(int64)] })
		}
		w.group("{", "}", len(v.keys), depth, func(i int) {
			i = int(order[i].(int64))
			w.key(v.keys[i])
			w.put(w.then)
			w.value(v.values[i], depth+1)
		})
	default:
		panic(w.s.errorf("tojson: got a %s, want what JSON has", typeName(v)))
	}
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	return floatRepr(f)
}

func (w *jsonWriter) key(k any) {
	switch k := k.(type) {
	case nil, bool, int64, float64:
		w.put(`"`)
		w.value(k, 0)
		w.put(`"`)
	case string:
		w.string(k)
	case markup:
		w.string(string(k))
	default:
		panic(w.s.errorf("tojson: got a %s as a key, want a string", typeName(k)))
	}
}

// group writes n items between brackets.
func (w *jsonWriter) group(open, shut string, n, depth int, item func(int)) {
	w.put(open)
	newLine := func(depth int) {
		if w.lines && n > 0 {
			w.s.built(depth * len(w.indent))
			w.put("\n" + strings.Repeat(w.indent, depth))
		}
	}
	for i := range n {
		if i > 0 {
			w.put(w.comma)
		}
		newLine(depth + 1)
		item(i)
	}
	newLine(depth)
	w.put(shut)
}

func (w *jsonWriter) string(text string) {
	w.s.built(len(text) + 2)
	w.b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case strings.ContainsRune("\n\r\t\f\b", r):
			w.b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}[r])
		case r < 0x20 || w.ascii && r >= 0x7f && r < 0x10000:
			w.s.built(6)
			fmt.Fprintf(&w.b, `\u%04x`, r)
		case w.ascii && r >= utf8.RuneSelf:
			w.s.built(12)
			r -= 0x10000
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}
