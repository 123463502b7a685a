package chat

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A template comes with a model's file, so it is not to be trusted with the
// process. These bounds are far above what a real template does with the
// longest conversation, and far below what would hurt.
const (
	maxSource   = 1 << 20   // bytes of a template
	maxSteps    = 4 << 20   // nodes evaluated and items visited
	maxBytes    = 256 << 20 // bytes of everything built, the output included
	maxDepth    = 4000      // nodes within nodes when evaluated, calls included
	maxNested   = 150       // brackets and blocks within each other in a template
	maxValue    = 400       // lists in lists when a value is printed or compared
	maxRange    = 100_000   // items of a range, as in the reference's sandbox
	scanned     = 64        // bytes that are looked at in the time of a step
	wordBytes   = 16        // of an item in a list
	maxDecimals = 400       // digits after the point
	maxDigits   = 4300      // of an integer, as in Python
	maxPower    = 14_000    // bits of an integer's power, about as many
)

// Error is what is wrong with a template, or with what it was given.
type Error struct {
	Line   int    // of the template, from 1; 0 where none is to blame
	Text   string // one line
	Raised bool   // the template said so itself by raise_exception
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Raised:
		return "the chat template refuses this conversation: " + e.Text
	case e.Line > 0:
		return fmt.Sprintf("chat template: line %d: %s", e.Line, e.Text)
	}
	return "chat template: " + e.Text
}

// state is one rendering. Failures inside it are panics with an *Error, which
// Render recovers, as text/template does.
type state struct {
	*tables
	scope *scope
	out   *strings.Builder
	now   func() time.Time
	line  int

	steps, bytes, depth int
}

// scope is the variables of a block; names that it lacks are looked up in the
// one around it.
type scope struct {
	vars  []named
	outer *scope
}

func (s *scope) find(name string) (any, bool) {
	for ; s != nil; s = s.outer {
		for i := range s.vars {
			if s.vars[i].name == name {
				return s.vars[i].value, true
			}
		}
	}
	return nil, false
}

func (s *scope) set(name string, v any) {
	for i := range s.vars {
		if s.vars[i].name == name {
			s.vars[i].value = v
			return
		}
	}
	s.vars = append(s.vars, named{name, v})
}

// within runs f in a new scope inside outer.
func (s *state) within(outer *scope, f func()) {
	before := s.scope
	s.scope = &scope{outer: outer}
	f()
	s.scope = before
}

// captured is what f writes.
func (s *state) captured(f func()) string {
	before := s.out
	s.out = new(strings.Builder)
	f()
	text := s.out.String()
	s.out = before
	return text
}

func (s *state) write(text string) {
	s.built(len(text))
	s.out.WriteString(text)
}

func (s *state) errorf(format string, a ...any) *Error {
	return &Error{Line: s.line, Text: oneLine(fmt.Sprintf(format, a...))}
}

// oneLine is text as a part of a message that is one line of bearable length, and
// nothing that a terminal obeys.
func oneLine(text string) string {
	if len(text) > 2000 {
		text = strings.ToValidUTF8(text[:2000], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
}

// step counts work done.
func (s *state) step(n int) {
	if s.steps += n; s.steps > maxSteps {
		panic(s.errorf("the template takes more than %d steps: it may loop without end", maxSteps))
	}
}

// built counts bytes of memory made, before they are made where that is known.
func (s *state) built(n int) {
	if n < 0 || n > maxBytes-s.bytes {
		panic(s.errorf("the template builds more than %d MiB of text: it may grow without end", maxBytes>>20))
	}
	s.bytes += n
}

// enter counts nodes within nodes; leave undoes it. After a failure nobody
// asks any more.
func (s *state) enter() {
	s.step(1)
	if s.depth++; s.depth > maxDepth {
		panic(s.errorf("the template nests its calls too deeply: it may call itself without end"))
	}
}

func (s *state) leave() { s.depth-- }

// tooDeep fails for a value that nests too deeply.
func (s *state) tooDeep(depth int) {
	if depth > maxValue {
		panic(s.errorf("a value nests more than %d deep", maxValue))
	}
}

// mustExist fails for what is undefined.
func (s *state) mustExist(v any) {
	if u, ok := v.(*undefined); ok {
		panic(s.errorf("%s", u.hint))
	}
}

// call calls a value.
func (s *state) call(f any, a args) any {
	switch f := f.(type) {
	case *function:
		s.enter()
		v := f.call(s, a)
		s.leave()
		return v
	case *loop:
		return f.recurse(s, a)
	}
	s.mustExist(f)
	panic(s.errorf("got a %s to call, want a function", typeName(f)))
}
