package source

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// jsonReader walks JSON token by token, so that wrong types are seen and depth
// costs no stack.
type jsonReader struct{ dec *json.Decoder }

func newJSONReader(r io.Reader) *jsonReader {
	j := &jsonReader{dec: json.NewDecoder(r)}
	j.dec.UseNumber()
	return j
}

func (j *jsonReader) token(what string) (json.Token, error) {
	tok, err := j.dec.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: got JSON that ends or breaks after %d bytes: %w", what, j.dec.InputOffset(), err)
	}
	return tok, nil
}

// object calls value with each key in turn; value must consume what follows. A
// key may come again: the reference libraries let the last one count.
func (j *jsonReader) object(what string, value func(key string) error) error {
	tok, err := j.token(what)
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("%s: got %s, want a JSON object", what, showToken(tok))
	}
	return j.members(what, value)
}

// members is the rest of an object whose brace was read.
func (j *jsonReader) members(what string, value func(key string) error) error {
	for j.dec.More() {
		key, err := j.str(what)
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	_, err := j.token(what)
	return err
}

func (j *jsonReader) str(what string) (string, error) {
	tok, err := j.token(what)
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("%s: got %s, want a string", what, showToken(tok))
	}
	return s, nil
}

// ints reads an array of integers in [0, 2^63).
func (j *jsonReader) ints(what string) ([]int64, error) {
	tok, err := j.token(what)
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		return nil, fmt.Errorf("%s: got %s, want an array", what, showToken(tok))
	}
	list := []int64{}
	for j.dec.More() {
		tok, err := j.token(what)
		if err != nil {
			return nil, err
		}
		num, _ := tok.(json.Number)
		v, err := strconv.ParseInt(string(num), 10, 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%s: got %s, want an integer in [0, 2^63)", what, showToken(tok))
		}
		list = append(list, v)
	}
	_, err = j.token(what)
	return list, err
}

// skip consumes one value of any kind.
func (j *jsonReader) skip(what string) error {
	var raw json.RawMessage
	if err := j.dec.Decode(&raw); err != nil {
		return fmt.Errorf("%s: got JSON that ends or breaks after %d bytes: %w", what, j.dec.InputOffset(), err)
	}
	return nil
}

// end demands that only white space is left.
func (j *jsonReader) end() error {
	if _, err := j.dec.Token(); err != io.EOF {
		return fmt.Errorf("got more after the JSON object of %d bytes, want only padding", j.dec.InputOffset())
	}
	return nil
}

// showToken describes a token in an error, cut to a length fit for one line.
func showToken(tok json.Token) string {
	switch v := tok.(type) {
	case json.Delim:
		return fmt.Sprintf("%q", v.String())
	case string:
		return fmt.Sprintf("the string %.80q", v)
	case json.Number:
		return fmt.Sprintf("the number %.40s", string(v))
	case nil:
		return "null"
	}
	return fmt.Sprint(tok)
}

// showInts prints a shape or offsets, cut to a length fit for one line.
func showInts(v []int64) string {
	if len(v) > 8 {
		return fmt.Sprintf("%v... (%d numbers)", v[:8], len(v))
	}
	return fmt.Sprint(v)
}
