package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// schema is the version of what --json prints. Fields may be added to it; a
// change of those there are makes a new one.
const schema = 1

// printJSON writes v as one line. That the writing itself fails is for output
// to tell.
func (a *app) printJSON(v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	a.stdout.Write(line.Bytes())
	return nil
}
