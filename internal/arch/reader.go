package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
)

// reader takes typed fields from a JSON object that Python wrote, and remembers
// the first that it could not take. Keys are matched letter by letter, as Python
// does and encoding/json's struct fields do not; of equal ones the last counts.
type reader struct {
	file    string
	keys    map[string]json.RawMessage
	err     error
	notices []string // what was left out
	outer   *reader  // that this is a part of, which is told all that goes wrong
}

func newReader(file string, raw []byte) (*reader, error) {
	r := &reader{file: file}
	err := json.Unmarshal(config.FromPythonJSON(raw), &r.keys)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return nil, fmt.Errorf("config: %s: got a JSON %s, want an object", file, kind.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %s: got no JSON, want an object: %w", file, err)
	}
	return r, nil
}

// modelType is what config.json calls the model: its model_type or, as the oldest
// files have none, the beginning of its class's name.
func (r *reader) modelType() string {
	if r.given("model_type") {
		return r.text("model_type", "the name of a family")
	}
	var classes []string
	if json.Unmarshal(r.keys["architectures"], &classes) != nil || len(classes) == 0 {
		return ""
	}
	class, _, _ := strings.Cut(classes[0], "For")
	return strings.ToLower(strings.TrimSuffix(class, "Model"))
}

// fail records that key holds something other than what is wanted.
func (r *reader) fail(key, want string) {
	r.failed(fmt.Errorf("config: %s: got %s %s, want %s", r.file, key, r.shown(key), want))
}

// failed records an error, the first one.
func (r *reader) failed(err error) {
	for ; r != nil; r = r.outer {
		if r.err == nil {
			r.err = err
		}
	}
}

// leaveOut tells that something at key does not count.
func (r *reader) leaveOut(key string, why string) {
	notice := fmt.Sprintf("%s: %s %s is left out: %s", r.file, key, r.shown(key), why)
	for ; r != nil; r = r.outer {
		r.notices = append(r.notices, notice)
	}
}

// shown is enough of a value to recognise it by.
func (r *reader) shown(key string) string {
	const most = 60
	got, ok := r.keys[key]
	if !ok {
		return "of none"
	}
	if len(got) > most {
		got = append(bytes.Clone(got[:most]), "..."...)
	}
	return string(got)
}

// given reports whether key is there and not null.
func (r *reader) given(key string) bool {
	raw, ok := r.keys[key]
	return ok && !isNull(raw)
}

func isNull(raw []byte) bool { return string(raw) == "null" }

// whole reads a whole number, which some tools write as 768.0.
func whole(raw []byte) (int32, bool) {
	var f float64
	if isNull(raw) || json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int32(f), true
}

// size is a whole number, def where the key is absent.
func (r *reader) size(key string, def int) int {
	raw, ok := r.keys[key]
	if !ok {
		return def
	}
	n, ok := whole(raw)
	if !ok {
		r.fail(key, "a whole number of 32 bits")
	}
	return int(n)
}

// number is a number, def where the key is absent or null.
func (r *reader) number(key string, def float64) float64 {
	if !r.given(key) {
		return def
	}
	v := def
	if json.Unmarshal(r.keys[key], &v) != nil || math.Abs(v) > math.MaxFloat32 {
		r.fail(key, "a number")
		return def
	}
	return v
}

// object is what key holds, with the keys of an object; it is empty where the key
// is absent or null. What goes wrong in it is told by r.
func (r *reader) object(key string) *reader {
	in := &reader{file: r.file + ": " + key, outer: r}
	if r.given(key) && json.Unmarshal(r.keys[key], &in.keys) != nil {
		r.fail(key, "an object")
	}
	return in
}

// within is r with the keys of an object of it before its own.
func (r *reader) within(key string) *reader {
	all := maps.Clone(r.keys)
	maps.Copy(all, r.object(key).keys)
	return &reader{file: r.file, keys: all, outer: r}
}

// text is a string.
func (r *reader) text(key, want string) (s string) {
	if !r.given(key) || json.Unmarshal(r.keys[key], &s) != nil {
		r.fail(key, want)
	}
	return s
}

// flag is what Python takes for true: def where the key is absent, no for null,
// zero and what is empty.
func (r *reader) flag(key string, def bool) bool {
	raw, ok := r.keys[key]
	if !ok {
		return def
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		r.fail(key, "true or false")
	}
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// layers is a list of layers, nil where the key is absent or null.
func (r *reader) layers(key string) (list []int) {
	if r.given(key) && json.Unmarshal(r.keys[key], &list) != nil {
		r.fail(key, "a list of layers")
	}
	return list
}

// shares is a list of n numbers above 0 and at most 1, nil where there is none that
// can be used: only estimates need it.
func (r *reader) shares(key string, n int) (list []float64) {
	if !r.given(key) {
		return nil
	}
	bad := func(f float64) bool { return !config.ShareOfNeurons(f) }
	if json.Unmarshal(r.keys[key], &list) != nil || len(list) != n || slices.ContainsFunc(list, bad) {
		r.leaveOut(key, fmt.Sprintf("want %d numbers above 0 and at most 1", n))
		return nil
	}
	return list
}

// activation is a function by its name, def where the key is absent.
func (r *reader) activation(key string, def config.Activation) config.Activation {
	if _, ok := r.keys[key]; !ok {
		return def
	}
	a, ok := config.ActivationNamed(r.text(key, config.Activations))
	if !ok {
		r.fail(key, config.Activations)
	}
	return a
}

// tokens is a token id or a list of them, def where the key is absent; null and
// -1 are none. What is no token of the vocabulary is left out.
func (r *reader) tokens(key string, def []int32, vocab int) (ids []int32) {
	raw, ok := r.keys[key]
	list := []json.RawMessage{raw}
	switch {
	case !ok:
		for _, id := range def {
			if int(id) < vocab {
				ids = append(ids, id)
			}
		}
		return ids
	case raw[0] == '[':
		list = nil
		if json.Unmarshal(raw, &list) != nil {
			r.leaveOut(key, "it is no list of token ids")
		}
	}
	for _, one := range list {
		switch id, ok := whole(one); {
		case isNull(one) || ok && id == -1:
		case !ok:
			r.leaveOut(key, "it is no token id")
		case id < 0 || int(id) >= vocab:
			r.leaveOut(key, fmt.Sprintf("%d is no token of the vocabulary of %d", id, vocab))
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

// token is the first of tokens, -1 where there is none.
func (r *reader) token(key string, def int32, vocab int) int32 {
	if ids := r.tokens(key, []int32{def}, vocab); len(ids) > 0 {
		return ids[0]
	}
	return -1
}

// numbers are those that a key may have, and what errors call them.
type numbers struct {
	accept func(float64) bool
	want   string
}

// readNumber sets to where key holds a number that may be there.
func readNumber[T int | float32](r *reader, key string, n numbers, to *T) {
	if !r.given(key) {
		return
	}
	var v float64
	if json.Unmarshal(r.keys[key], &v) != nil || !n.accept(v) {
		r.leaveOut(key, "want "+n.want)
		return
	}
	*to = T(v)
}
