package source

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// members reads one JSON object from r, which holds nothing after it, and calls
// value with each key in turn and the JSON of its value. A key may come again:
// the reference libraries let the last one count.
func members(r io.Reader, what string, value func(key string, raw json.RawMessage) error) error {
	d := json.NewDecoder(r)
	broken := func(err error) error {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%s: got JSON that ends or breaks after %d bytes: %w", what, d.InputOffset(), err)
	}
	start, err := d.Token()
	if err != nil {
		return broken(err)
	}
	if start != json.Delim('{') {
		return fmt.Errorf("%s: got %.80q, want a JSON object", what, fmt.Sprint(start))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return broken(err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return broken(err)
		}
		if err := value(key.(string), raw); err != nil { // a key is a string, or Token fails
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return broken(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("got more after the JSON object of %d bytes, want only padding", d.InputOffset())
	}
	return nil
}

// parseString reads a JSON string.
func parseString(what string, raw json.RawMessage) (s string, err error) {
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("%s: got %.80s, want a string", what, raw)
	}
	return s, nil
}

// parseIntegers reads a JSON array of integers in [0, 2^63).
func parseIntegers(what string, raw json.RawMessage) ([]int64, error) {
	inner, ok := strings.CutPrefix(string(raw), "[")
	if !ok {
		return nil, fmt.Errorf("%s: got %.80s, want an array", what, raw)
	}
	list := []int64{}
	if inner = strings.TrimSuffix(inner, "]"); strings.TrimSpace(inner) == "" {
		return list, nil
	}
	for number := range strings.SplitSeq(inner, ",") {
		number = strings.TrimSpace(number)
		v, err := strconv.ParseUint(number, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s: got %.80s, want an integer in [0, 2^63)", what, number)
		}
		list = append(list, int64(v))
	}
	return list, nil
}

// showInts prints a shape or offsets, cut to a length fit for one line.
func showInts(v []int64) string {
	if len(v) > 8 {
		return fmt.Sprintf("%v... (%d numbers)", v[:8], len(v))
	}
	return fmt.Sprint(v)
}
