package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// statusLine says on one line of a terminal what is being done, and nothing
// elsewhere.
type statusLine struct {
	to    io.Writer // nil: nowhere
	width int       // of what is shown
}

func (a *app) newStatusLine() *statusLine {
	if !isTerminal(a.stderr) {
		return &statusLine{}
	}
	return &statusLine{to: a.stderr}
}

func (s *statusLine) show(what string) {
	if s.to == nil {
		return
	}
	n := utf8.RuneCountInString(what)
	fmt.Fprintf(s.to, "\r%s%s", what, strings.Repeat(" ", max(0, s.width-n)))
	s.width = n
}

// close takes the line away.
func (s *statusLine) close() {
	if s.to != nil && s.width > 0 {
		s.show("")
		fmt.Fprint(s.to, "\r")
	}
}
