package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// reader takes typed fields from a config.json and remembers the first that
// it could not take. Keys are matched letter by letter, as Python does and
// encoding/json's struct fields do not.
type reader struct {
	keys map[string]json.RawMessage
	err  error
}

// fail records that key holds something other than what is wanted.
func (r *reader) fail(key, want string) {
	if r.err != nil {
		return
	}
	got, ok := r.keys[key]
	if !ok {
		r.err = fmt.Errorf("config: config.json: got no %s, want %s", key, want)
		return
	}
	// Enough of a value to recognise it by.
	const most = 60
	if len(got) > most {
		got = append(bytes.Clone(got[:most]), "..."...)
	}
	r.err = fmt.Errorf("config: config.json: got %s %s, want %s", key, got, want)
}

// given reports whether key is there and not null.
func (r *reader) given(key string) bool {
	raw, ok := r.keys[key]
	return ok && !isNull(raw)
}

func isNull(raw []byte) bool { return string(raw) == "null" }

const wholeNumber = "a whole number of 32 bits"

// whole reads a whole number, which some tools write as 768.0.
func whole(raw []byte) (int32, bool) {
	var f float64
	if isNull(raw) || json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int32(f), true
}

// size is a whole number that must be there.
func (r *reader) size(key string) int {
	n, ok := whole(r.keys[key])
	if !ok {
		r.fail(key, wholeNumber)
	}
	return int(n)
}

// sizeOr is size, or def where the key is absent or null.
func (r *reader) sizeOr(key string, def int) int {
	if !r.given(key) {
		return def
	}
	return r.size(key)
}

// text is a string that must be there.
func (r *reader) text(key, want string) (s string) {
	if !r.given(key) || json.Unmarshal(r.keys[key], &s) != nil {
		r.fail(key, want)
	}
	return s
}

// flag is a boolean, def where the key is absent; null is false.
func (r *reader) flag(key string, def bool) (b bool) {
	raw, ok := r.keys[key]
	if !ok {
		return def
	}
	if json.Unmarshal(raw, &b) != nil {
		r.fail(key, "true or false")
	}
	return b
}

// activation is a function by its name, def where the key is absent.
func (r *reader) activation(key string, def Activation) Activation {
	if _, ok := r.keys[key]; !ok {
		return def
	}
	a, ok := activationNamed(r.text(key, activations))
	if !ok {
		r.fail(key, activations)
	}
	return a
}

// tokens is a token id or a list of them, def alone where the key is absent;
// null is none.
func (r *reader) tokens(key string, def int32) []int32 {
	raw, ok := r.keys[key]
	switch {
	case !ok:
		return []int32{def}
	case isNull(raw):
		return nil
	}
	var list []json.RawMessage
	if raw[0] != '[' {
		list = append(list, raw)
	} else if json.Unmarshal(raw, &list) != nil {
		r.fail(key, tokenID)
	}
	ids := make([]int32, len(list))
	for i, one := range list {
		if ids[i], ok = whole(one); !ok {
			r.fail(key, tokenID)
		}
	}
	return ids
}

const tokenID = "a token id or a list of them"

// token is the first of tokens, -1 where there is none.
func (r *reader) token(key string, def int32) int32 {
	if ids := r.tokens(key, def); len(ids) > 0 {
		return ids[0]
	}
	return -1
}
