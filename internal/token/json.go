package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeJSON decodes data into v, with the line where it goes wrong.
func decodeJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineAt(data, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: key %q: got a JSON %s, want %s", lineAt(data, kind.Offset), kind.Field, kind.Value, jsonName(kind))
	}
	return err
}

// jsonName names what a JSON value should have been, in JSON's words.
func jsonName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return "a number"
}

// lineAt returns the line, from 1, of a place in data.
func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
}

// readVocab reads the JSON object of token to id. In a tokenizer.json the last
// of equal keys counts, as in the reference.
func (b *builder) readVocab(data []byte) error {
	// A token and its id take some 18 bytes in GPT-2's file.
	b.vocab = make(map[string]int32, len(data)/18)
	return readIDs(data, func(token string, id int32) error {
		if _, ok := b.vocab[token]; ok && !b.complete {
			return errors.New("got it twice, want it once")
		}
		b.vocab[token] = id
		return nil
	})
}

// readIDs calls add for each key and id of a JSON object, in order. A map
// decoded by encoding/json would not show that a key comes twice.
func readIDs(data []byte, add func(token string, id int32) error) error {
	s := jsonScanner{data: data}
	err := s.open('{', "an object of token to id")
	for err == nil && s.next() != '}' {
		var token string
		var id int32
		if token, err = s.text("a token"); err != nil {
			break
		}
		if id, err = s.id(); err == nil {
			err = add(token, id)
		}
		if err != nil {
			err = fmt.Errorf("key %q: %w", token, err)
		}
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", lineAt(data, int64(s.at)), err)
	}
	return nil
}

// readMergeList reads a JSON array of merges. Older files write a merge as a
// line of merges.txt and newer ones as an array of two.
func (b *builder) readMergeList(data []byte) error {
	s := jsonScanner{data: data}
	if s.next() == 0 || s.next() == 'n' { // there is none, or null
		return nil
	}
	if err := s.open('[', "an array of merges"); err != nil {
		return fmt.Errorf("merges: %w", err)
	}
	for i := 0; s.next() != ']'; i++ {
		if err := b.readMerge(&s); err != nil {
			return fmt.Errorf("merges[%d]: %w", i, err)
		}
	}
	return nil
}

func (b *builder) readMerge(s *jsonScanner) error {
	if s.next() == '"' {
		line, err := s.text("two tokens")
		if err != nil || strings.HasPrefix(line, "#version") {
			return err
		}
		return b.addMergeLine(line)
	}
	pair := *s
	if err := s.open('[', "two tokens"); err != nil {
		return err
	}
	left, errLeft := s.text("two tokens")
	right, errRight := s.text("two tokens")
	if errLeft != nil || errRight != nil || s.next() != ']' {
		return pair.wants("two tokens")
	}
	s.at++
	return b.addMerge(left, right)
}

// jsonScanner walks through a JSON value that is known to be valid. The
// vocabulary and its merges are most of what loading reads, and for these
// encoding/json makes eight times the allocations.
type jsonScanner struct {
	data []byte
	at   int
}

// next goes on to the next value or closing bracket and returns its first
// byte, 0 at the end.
func (s *jsonScanner) next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			return c
		}
	}
	return 0
}

// wants is the error for a value of another kind.
func (s *jsonScanner) wants(want string) error {
	s.next()
	var got json.RawMessage
	if json.NewDecoder(bytes.NewReader(s.data[s.at:])).Decode(&got) != nil {
		return fmt.Errorf("got no more, want %s", want)
	}
	return fmt.Errorf("got %.40s, want %s", got, want)
}

// open goes into an object or array.
func (s *jsonScanner) open(bracket byte, want string) error {
	if s.next() != bracket {
		return s.wants(want)
	}
	s.at++
	return nil
}

func (s *jsonScanner) text(want string) (string, error) {
	if s.next() != '"' {
		return "", s.wants(want)
	}
	start, plain := s.at, true
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++ // an escaped quote ends nothing
			plain = false
		}
	}
	s.at++
	text := string(s.data[start+1 : s.at-1])
	if plain && utf8.ValidString(text) {
		return text, nil
	}
	err := json.Unmarshal(s.data[start:s.at], &text)
	return text, err
}

func (s *jsonScanner) id() (int32, error) {
	s.next()
	end := s.at
	for s.data[end]-'0' < 10 {
		end++
	}
	id, err := strconv.ParseInt(string(s.data[s.at:end]), 10, 32)
	if err != nil || strings.IndexByte(".eE", s.data[end]) >= 0 {
		return 0, s.wants(fmt.Sprintf("an id from 0 to %d", math.MaxInt32))
	}
	s.at = end
	return int32(id), nil
}
