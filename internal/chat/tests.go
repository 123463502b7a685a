package chat

// testTable is what stands behind is.
func testTable() tests {
	is := func(f func(v any) bool) builtin[any, bool] { return of(func(_ *state, v any) bool { return f(v) }) }
	table := tests{
		"defined":   is(func(v any) bool { _, missing := v.(*undefined); return !missing }),
		"undefined": is(func(v any) bool { _, missing := v.(*undefined); return missing }),
		"none":      is(func(v any) bool { return v == nil }),
		"boolean":   is(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":      is(func(v any) bool { b, ok := v.(bool); return ok && b }),
		"false":     is(func(v any) bool { b, ok := v.(bool); return ok && !b }),
		"integer":   is(func(v any) bool { return typeName(v) == "int" }),
		"float":     is(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":    is(func(v any) bool { _, ok := asFloat(v); return ok }),
		"string":    is(func(v any) bool { _, ok := asString(v); return ok }),
		"mapping":   is(func(v any) bool { _, ok := v.(*dict); return ok }),
		"escaped":   is(func(v any) bool { _, ok := v.(markup); return ok }),
		"iterable":  of(func(s *state, v any) bool { _, ok := s.tryIterate(v); return ok }),
		"lower":     of(func(s *state, v any) bool { return stringTests["islower"](s.str(v)) }),
		"upper":     of(func(s *state, v any) bool { return stringTests["isupper"](s.str(v)) }),
		"filter":    of(func(s *state, v any) bool { n, _ := asString(v); _, ok := s.filters[n]; return ok }),
		"test":      of(func(s *state, v any) bool { n, _ := asString(v); _, ok := s.tests[n]; return ok }),
		"callable": is(func(v any) bool {
			switch v.(type) {
			case *function, *loop, *undefined:
				return true
			}
			return false
		}),
		"sequence": is(func(v any) bool {
			switch v := v.(type) {
			case string, markup, *dict, *undefined:
				return true
			case *list:
				return v.kind != isView
			}
			return false
		}),
		"sameas": {"other", nil, func(s *state, v any, in []any) bool {
			return typeName(v) == typeName(in[0]) && s.equal(v, in[0], 0)
		}},
		"divisibleby": {"num", nil, func(s *state, v any, in []any) bool { return s.rest(v, in[0], 0) }},
		"even":        of(func(s *state, v any) bool { return s.rest(v, int64(2), 0) }),
		"odd":         of(func(s *state, v any) bool { return s.rest(v, int64(2), 1) }),
	}
	for name, op := range map[string]string{
		"eq": "==", "equalto": "==", "ne": "!=", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">", "greaterthan": ">", "ge": ">=", "in": "in",
		"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
	} {
		table[name] = builtin[any, bool]{"other", nil, func(s *state, v any, in []any) bool { return s.compares(op, v, in[0]) }}
	}
	return table
}

// rest reports whether v divided by by leaves that rest.
func (s *state) rest(v, by any, rest int64) bool { return s.equal(s.arithmetic("%", v, by), rest, 0) }
