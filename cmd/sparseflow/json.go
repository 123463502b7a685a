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

// tell prints v if JSON is wanted, else the line that format makes.
func (a *app) tell(asJSON bool, v any, format string, args ...any) error {
	if asJSON {
		return a.printJSON(v)
	}
	fmt.Fprintf(a.stdout, format+"\n", args...)
	return nil
}

// errorJSON is what --json prints in the place of a result.
type errorJSON struct {
	Schema int `json:"schema"`
	Error  struct {
		Message string `json:"message"` // as on standard error
		Status  int    `json:"exit_status"`
	} `json:"error"`
}

// printError writes an error as JSON, unless the verb has written a result that
// says what is wrong.
func (a *app) printError(err error) {
	if a.stdout.wrote {
		return
	}
	out := errorJSON{Schema: schema}
	out.Error.Message, out.Error.Status = messageOf(err), statusOf(err)
	_ = a.printJSON(out) // can be printed, and is the last to be
}
