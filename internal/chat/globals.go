package chat

import (
	"cmp"
	"fmt"
	"strings"
)

// global is what every template can call by that name, or nil.
func global(name string) *function {
	with := func(params string, defaults []any, f func(s *state, in []any) any) *function {
		return &function{name, func(s *state, a args) any { return f(s, a.bind(s, name, strings.Fields(params), defaults)) }}
	}
	switch name {
	case "range":
		return with("start stop step", []any{nil, int64(1)}, rangeOf)
	case "namespace":
		return &function{name, func(s *state, a args) any {
			d := dictOf(s, a)
			for _, k := range d.keys {
				if n, _ := asString(k); strings.HasPrefix(n, "_") {
					panic(s.errorf("got a namespace's attribute %.80q, want one without an underscore in front", n))
				}
			}
			return &namespace{d}
		}}
	case "dict":
		return &function{name, func(s *state, a args) any { return dictOf(s, a) }}
	case "raise_exception":
		return with("message", nil, func(s *state, in []any) any {
			panic(&Error{Line: s.line, Text: oneLine(s.str(in[0])), Raised: true})
		})
	case "strftime_now":
		return with("format", nil, func(s *state, in []any) any {
			s.built(24 * len(s.text(in[0])))
			return strftime(s.now(), s.text(in[0]))
		})
	case "joiner":
		return with("sep", []any{", "}, func(s *state, in []any) any {
			used := false
			return &function{name, func(s *state, _ args) any {
				if !used {
					used = true
					return ""
				}
				return in[0]
			}}
		})
	case "cycler":
		return &function{name, cycler}
	}
	return nil
}

func rangeOf(s *state, in []any) any {
	from, to, step := 0, s.int(in[0]), s.int(in[2])
	if in[1] != nil {
		from, to = to, s.int(in[1])
	}
	text := fmt.Sprintf("range(%d, %d, %d)", from, to, step)
	switch step {
	case 0:
		panic(s.errorf("range: got a step of 0"))
	case 1:
		text = fmt.Sprintf("range(%d, %d)", from, to)
	}
	n := max(0, (to-from+step-cmp.Compare(step, 0))/step)
	if n > maxRange {
		panic(s.errorf("range: got %d items, want at most %d", n, maxRange))
	}
	s.built(2 * wordBytes * n)
	s.step(n)
	l := &list{items: make([]any, n), kind: isRange, name: text}
	for i := range l.items {
		l.items[i] = int64(from + i*step)
	}
	return l
}

// dictOf is Python's dict(): of a dictionary or pairs, and of named arguments.
func dictOf(s *state, a args) *dict {
	d := newDict()
	s.built(4 * wordBytes * len(a.kw))
	if len(a.pos) > 1 {
		panic(s.errorf("dict: got %d arguments, want at most one without a name", len(a.pos)))
	}
	for _, v := range a.pos {
		if from, ok := v.(*dict); ok {
			v = from.items()
		}
		for pair := range s.each(v) {
			kv := s.collect(pair)
			if len(kv) != 2 {
				panic(s.errorf("dict: got %d values, want pairs", len(kv)))
			}
			s.built(4 * wordBytes)
			d.set(s, kv[0], kv[1])
		}
	}
	for _, k := range a.kw {
		d.set(s, k.name, k.value)
	}
	return d
}

// cycler is an object that gives one value after the other, for ever.
func cycler(s *state, a args) any {
	if len(a.pos) == 0 {
		panic(s.errorf("cycler: got nothing to cycle through"))
	}
	d, at := newDict(), 0
	move := func(to int) {
		at = to % len(a.pos)
		d.set(s, "current", a.pos[at])
	}
	d.set(s, "next", &function{"next", func(*state, args) any {
		v := a.pos[at]
		move(at + 1)
		return v
	}})
	d.set(s, "reset", &function{"reset", func(*state, args) any {
		move(0)
		return nil
	}})
	move(0)
	return &namespace{d}
}
