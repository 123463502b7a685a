package chat

import "strings"

// builtin is a method, filter or test: what it takes besides the value it is of,
// and what it does.
type builtin[V, R any] struct {
	params   string // their names; all, for one that takes whatever comes
	defaults []any  // of the last of them
	call     func(s *state, v V, in []any) R
}

// all is the parameters of a builtin that looks at its arguments itself: they
// are one value then.
const all = "*"

type (
	filters = map[string]builtin[any, any]
	tests   = map[string]builtin[any, bool]
	methods = map[string]builtin[any, any]
)

// tables are all builtins by name. A state has them by its field: what is in them
// uses it too, and Go knows no variable that begins with itself.
type tables struct {
	filters                               filters
	tests                                 tests
	onStrings, onDicts, onLists, onFloats methods
}

var builtins = &tables{filterTable(), testTable(), stringTable(), dictTable(), listTable(), floatTable()}

// apply calls a builtin.
func apply[V, R any](s *state, name string, b builtin[V, R], v V, a args) R {
	if b.params == all {
		return b.call(s, v, []any{a})
	}
	return b.call(s, v, a.bind(s, name, strings.Fields(b.params), b.defaults))
}

// of makes a builtin of a function that takes nothing.
func of[R any](f func(s *state, v any) R) builtin[any, R] {
	return builtin[any, R]{"", nil, func(s *state, v any, _ []any) R { return f(s, v) }}
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

// bind is the arguments in the order of the parameters, of which the last have
// defaults.
func (a args) bind(s *state, function string, params []string, defaults []any) []any {
	in := make([]any, len(params))
	need := len(params) - len(defaults)
	for i := range in {
		in[i] = absent{}
		if i < len(a.pos) {
			in[i] = a.pos[i]
		}
	}
	if len(a.pos) > len(params) {
		panic(s.errorf("%s: got %d arguments, want at most %d", function, len(a.pos), len(params)))
	}
next:
	for _, k := range a.kw {
		for i, name := range params {
			if _, free := in[i].(absent); name == k.name && free {
				in[i] = k.value
				continue next
			}
		}
		panic(s.errorf("%s: got an argument %s that it does not take, or takes once", function, k.name))
	}
	for i := range in {
		if _, missing := in[i].(absent); !missing {
			continue
		}
		if i < need {
			panic(s.errorf("%s: want an argument %s", function, params[i]))
		}
		in[i] = defaults[i-need]
	}
	return in
}

// int is an argument that must be an integer.
func (s *state) int(v any) int {
	n, ok := asInt(v)
	if !ok || n != int64(int32(n)) {
		s.mustExist(v)
		panic(s.errorf("got %s, want an integer of at most 32 bits", oneLine(s.short(v))))
	}
	return int(n)
}

// text is an argument that must be a string.
func (s *state) text(v any) string {
	text, ok := asString(v)
	if !ok {
		s.mustExist(v)
		panic(s.errorf("got %s, want a string", oneLine(s.short(v))))
	}
	return text
}

// unless is v, or other where v is none.
func unless(v, other any) any {
	if v == nil {
		return other
	}
	return v
}

// short is a value for a message.
func (s *state) short(v any) string {
	switch v.(type) {
	case *list, *dict, *namespace:
		return "a " + typeName(v)
	}
	text := s.str(v)
	return text[:min(len(text), 80)]
}
