package chat

import "fmt"

// testOf is what stands behind is, by its name; nil if there is none.
func testOf(name string) func(s *state, v any, a args) bool {
	if name == "equalto" {
		name = "eq"
	}
	if op := map[string]string{
		"eq": "==", "ne": "!=", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">", "greaterthan": ">", "ge": ">=", "in": "in",
		"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
	}[name]; op != "" {
		return func(s *state, v any, a args) bool { return s.compares(op, v, a.bind(s, name, 1, "other")[0]) }
	}
	is := map[string]func(v any) bool{
		"defined":   func(v any) bool { _, missing := v.(*undefined); return !missing },
		"undefined": func(v any) bool { _, missing := v.(*undefined); return missing },
		"none":      func(v any) bool { return v == nil },
		"boolean":   func(v any) bool { _, ok := v.(bool); return ok },
		"true":      func(v any) bool { b, ok := v.(bool); return ok && b },
		"false":     func(v any) bool { b, ok := v.(bool); return ok && !b },
		"integer":   func(v any) bool { return typeName(v) == "int" },
		"float":     func(v any) bool { _, ok := v.(float64); return ok },
		"number":    func(v any) bool { _, ok := asFloat(v); return ok },
		"string":    func(v any) bool { _, ok := asString(v); return ok },
		"mapping":   func(v any) bool { _, ok := v.(*dict); return ok },
		"escaped":   func(v any) bool { _, ok := v.(markup); return ok },
		"callable": func(v any) bool {
			switch v.(type) {
			case *function, *loop, *undefined:
				return true
			}
			return false
		},
		"sequence": func(v any) bool {
			switch v := v.(type) {
			case string, markup, *dict, *undefined:
				return true
			case *list:
				return v.kind != isView
			}
			return false
		},
	}[name]
	if is != nil {
		return func(s *state, v any, a args) bool {
			a.bind(s, name, 0)
			return is(v)
		}
	}
	switch name {
	case "iterable":
		return func(s *state, v any, a args) bool { _, ok := s.tryIterate(v); return ok }
	case "odd", "even", "divisibleby":
		return func(s *state, v any, a args) bool {
			by, rest := any(int64(2)), int64(0)
			switch name {
			case "divisibleby":
				by = a.bind(s, name, 1, "num")[0]
			case "odd":
				rest = 1
			}
			return s.equal(s.arithmetic("%", v, by), rest, 0)
		}
	case "lower", "upper":
		return func(s *state, v any, a args) bool { return stringTest("is" + name)(s.str(v)) }
	case "sameas":
		return func(s *state, v any, a args) bool {
			other := a.bind(s, name, 1, "other")[0]
			return typeName(v) == typeName(other) && s.equal(v, other, 0)
		}
	case "filter":
		return func(s *state, v any, a args) bool { n, ok := asString(v); return ok && filterOf(n) != nil }
	case "test":
		return func(s *state, v any, a args) bool { n, ok := asString(v); return ok && testOf(n) != nil }
	}
	return nil
}

// global is what every template can call by that name, or nil.
func global(name string) any {
	var f func(s *state, a args) any
	switch name {
	case "range":
		f = rangeOf
	case "namespace":
		f = func(s *state, a args) any {
			d := dictOf(s, a)
			for _, k := range d.keys {
				if n, ok := asString(k); ok && n != "" && n[0] == '_' {
					panic(s.errorf("got a namespace's attribute %.80q, want one without an underscore in front", n))
				}
			}
			return &namespace{d}
		}
	case "dict":
		f = func(s *state, a args) any { return dictOf(s, a) }
	case "raise_exception":
		f = func(s *state, a args) any {
			panic(&Error{Line: s.line, Text: oneLine(s.str(a.bind(s, name, 1, "message")[0])), Raised: true})
		}
	case "strftime_now":
		f = func(s *state, a args) any {
			format := s.wantString(name, a.bind(s, name, 1, "format")[0])
			s.built(24 * len(format))
			return strftime(s.now(), format)
		}
	case "cycler", "joiner":
		f = func(s *state, a args) any { return stateful(s, name, a) }
	default:
		return nil
	}
	return &function{name, f}
}

func rangeOf(s *state, a args) any {
	in := a.bind(s, "range", 1, "start", "stop", "step")
	from, to, step := 0, s.wantInt("range", in[0]), s.wantInt("range", or(in[2], int64(1)))
	text := fmt.Sprintf("range(0, %d)", to)
	if _, one := in[1].(absent); !one {
		from, to = to, s.wantInt("range", in[1])
		text = fmt.Sprintf("range(%d, %d)", from, to)
	}
	if step == 0 {
		panic(s.errorf("range: got a step of 0"))
	}
	if step != 1 {
		text = text[:len(text)-1] + fmt.Sprintf(", %d)", step)
	}
	n := max(0, (to-from+step-sign(step < 0, step > 0))/step)
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
	for _, v := range a.pos {
		if from, ok := v.(*dict); ok {
			v = from.items()
		}
		if len(a.pos) > 1 {
			panic(s.errorf("dict: got %d arguments, want at most one without a name", len(a.pos)))
		}
		for _, pair := range s.collect(v) {
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

// stateful is a cycler or a joiner.
func stateful(s *state, name string, a args) any {
	used := 0
	if name == "joiner" {
		by := or(a.bind(s, name, 0, "sep")[0], ", ")
		return &function{name, func(s *state, _ args) any {
			if used++; used == 1 {
				return ""
			}
			return by
		}}
	}
	if len(a.pos) == 0 {
		panic(s.errorf("cycler: got nothing to cycle through"))
	}
	d := newDict()
	d.set(s, "next", &function{"next", func(s *state, _ args) any {
		v := a.pos[used]
		used = (used + 1) % len(a.pos)
		d.set(s, "current", a.pos[used])
		return v
	}})
	d.set(s, "reset", &function{"reset", func(s *state, _ args) any {
		used = 0
		d.set(s, "current", a.pos[0])
		return nil
	}})
	d.set(s, "current", a.pos[0])
	return &namespace{d}
}
