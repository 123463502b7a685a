package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
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

// readVocab reads a JSON object of token to id. In a tokenizer.json the last
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
// decoded by encoding/json would not show that a key comes twice, and its
// Decoder makes eight times the allocations for this, the largest part of
// loading.
func readIDs(data []byte, add func(token string, id int32) error) error {
	s := idScanner{data: data}
	if err := s.object(add); err != nil {
		return fmt.Errorf("line %d: %w", lineAt(data, int64(s.at)), err)
	}
	return nil
}

// readPairs calls add for each merge in a JSON array, in order. Older files
// write a merge as a line of merges.txt and newer ones as an array of two.
func readPairs(data []byte, add func(left, right string) error) error {
	s := idScanner{data: data}
	if len(data) == 0 || s.peek() == 'n' {
		return nil
	}
	i := -1
	err := s.list('[', ']', "an array of merges", func() error {
		i++
		left, right, err := s.pair()
		if err == nil && !strings.HasPrefix(left, "#version") {
			err = add(left, right)
		}
		return err
	})
	if err != nil && i >= 0 {
		return fmt.Errorf("[%d]: %w", i, err)
	}
	if err != nil {
		return fmt.Errorf(": %w", err)
	}
	return nil
}

// readScores reads the vocabulary of a Unigram model: tokens with their
// scores, in the order of their ids.
func (b *builder) readScores(data []byte) error {
	var list [][]any
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	b.vocab = make(map[string]int32, len(list))
	for i, entry := range list {
		if len(entry) != 2 {
			return fmt.Errorf("[%d]: got %d values, want a token and its score", i, len(entry))
		}
		token, isText := entry[0].(string)
		score, isNumber := entry[1].(float64)
		if !isText || !isNumber {
			return fmt.Errorf("[%d]: got %v, want a token and its score", i, entry)
		}
		b.vocab[token] = int32(i)
		b.scores = append(b.scores, score)
	}
	return nil
}

// idScanner is a place in the JSON of a vocabulary or its merges.
type idScanner struct {
	data []byte
	at   int
}

func (s *idScanner) object(add func(token string, id int32) error) error {
	err := s.list('{', '}', "an object of token to id", func() error {
		token, err := s.text("a token in quotes")
		if err != nil {
			return err
		}
		if err := s.expect(':', "a colon"); err != nil {
			return err
		}
		id, err := s.id()
		if err == nil {
			err = add(token, id)
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", token, err)
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	return err
}

// list calls item for each element between two brackets.
func (s *idScanner) list(open, end byte, want string, item func() error) error {
	if err := s.expect(open, want); err != nil {
		return err
	}
	if s.peek() == end {
		s.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.at++
			continue
		}
		return s.expect(end, "a comma or the end of "+want)
	}
}

// pair reads the two tokens of a merge.
func (s *idScanner) pair() (left, right string, err error) {
	switch s.peek() {
	case '"':
		line, err := s.text("two tokens")
		left, right, _ = strings.Cut(line, " ")
		if strings.Contains(right, " ") {
			err = fmt.Errorf("got merge %q, want two tokens with a space between", line)
		}
		return left, right, err
	case '[':
		var pair []string
		err := s.list('[', ']', "two tokens", func() error {
			token, err := s.text("a token in quotes")
			pair = append(pair, token)
			return err
		})
		if err != nil || len(pair) != 2 {
			return "", "", fmt.Errorf("got %.40q, want two tokens", pair)
		}
		return pair[0], pair[1], nil
	}
	return "", "", fmt.Errorf("got %s, want two tokens", s.got())
}

// peek returns the next byte behind white space, 0 at the end.
func (s *idScanner) peek() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// got names what is next, for errors.
func (s *idScanner) got() string {
	if s.peek(); s.at >= len(s.data) {
		return "the end"
	}
	return fmt.Sprintf("%q", s.data[s.at:min(s.at+12, len(s.data))])
}

func (s *idScanner) expect(c byte, want string) error {
	if s.peek() != c {
		return fmt.Errorf("got %s, want %s", s.got(), want)
	}
	s.at++
	return nil
}

func (s *idScanner) end() error {
	if s.peek(); s.at < len(s.data) {
		return fmt.Errorf("got %s behind the object, want the end", s.got())
	}
	return nil
}

// text reads a string.
func (s *idScanner) text(want string) (string, error) {
	if err := s.expect('"', want); err != nil {
		return "", err
	}
	start, plain := s.at, true
	for s.at < len(s.data) && s.data[s.at] != '"' {
		c := s.data[s.at]
		plain = plain && c >= ' ' && c != '\\'
		if c == '\\' {
			s.at++ // an escaped quote ends nothing
		}
		s.at++
	}
	if s.at >= len(s.data) {
		s.at = start
		return "", fmt.Errorf("got %s without a closing quote, want %s", s.got(), want)
	}
	token := string(s.data[start:s.at])
	s.at++
	if !plain || !utf8.ValidString(token) {
		if err := json.Unmarshal(s.data[start-1:s.at], &token); err != nil {
			return "", fmt.Errorf("got a token that is no JSON string: %w", err)
		}
	}
	return token, nil
}

// id reads a number.
func (s *idScanner) id() (int32, error) {
	s.peek()
	start, id := s.at, int64(0)
	for ; s.at < len(s.data) && s.data[s.at]-'0' < 10 && id <= math.MaxInt32; s.at++ {
		id = 10*id + int64(s.data[s.at]-'0')
	}
	digits := s.at - start
	if digits == 0 || id > math.MaxInt32 || digits > 1 && s.data[start] == '0' {
		s.at = start
		return 0, fmt.Errorf("got %s, want an id from 0 to %d", s.got(), math.MaxInt32)
	}
	return int32(id), nil
}
