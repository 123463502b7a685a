package chat

import (
	"fmt"
	"strings"
	"time"
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

// oneLine is text as a part of a message that is one line of bearable length.
func oneLine(text string) string {
	if len(text) > 2000 {
		text = strings.ToValidUTF8(text[:2000], "") + "..."
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(strings.TrimSpace(text))
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

// args are the arguments of a call.
type args struct {
	pos []any
	kw  []named
}

type named struct {
	name  string
	value any
}

// absent is the argument that was not given.
type absent struct{}

// bind is the arguments in the order of the parameters' names, absent{} where
// one is not given. The first need of them must be.
func (a args) bind(s *state, function string, need int, names ...string) []any {
	if len(a.pos) > len(names) {
		panic(s.errorf("%s: got %d arguments, want at most %d", function, len(a.pos), len(names)))
	}
	out := make([]any, len(names))
	for i := range out {
		out[i] = absent{}
		if i < len(a.pos) {
			out[i] = a.pos[i]
		}
	}
next:
	for _, k := range a.kw {
		for i, name := range names {
			if _, free := out[i].(absent); name == k.name && free {
				out[i] = k.value
				continue next
			}
		}
		panic(s.errorf("%s: got an argument %s that it does not take, or takes once", function, k.name))
	}
	for i := range need {
		if _, missing := out[i].(absent); missing {
			panic(s.errorf("%s: want an argument %s", function, names[i]))
		}
	}
	return out
}

// or is v, or other where v was not given.
func or(v, other any) any {
	if _, missing := v.(absent); missing {
		return other
	}
	return v
}

// wantInt is an argument that must be an integer.
func (s *state) wantInt(function string, v any) int {
	n, ok := asInt(v)
	if !ok || n != int64(int32(n)) {
		s.mustExist(v)
		panic(s.errorf("%s: got %s, want an integer of at most 32 bits", function, oneLine(s.short(v))))
	}
	return int(n)
}

// wantString is an argument that must be a string.
func (s *state) wantString(function string, v any) string {
	text, ok := asString(v)
	if !ok {
		s.mustExist(v)
		panic(s.errorf("%s: got %s, want a string", function, oneLine(s.short(v))))
	}
	return text
}

// short is a value for a message.
func (s *state) short(v any) string {
	switch v.(type) {
	case *list, *dict, *namespace:
		return "a " + typeName(v)
	}
	return fmt.Sprintf("%.80s", s.str(v))
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
