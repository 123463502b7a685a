package chat

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// filterTable is what stands behind |. Those of jinja2 that make HTML or URLs,
// choose at random or print for debugging are left out.
func filterTable() filters {
	const no = false
	var null, zero any = nil, int64(0)
	table := filters{
		"title": of(func(s *state, v any) any {
			return sameKind(v, eachWord(s.str(v), func(r rune) bool { return !isSpace(r) && !strings.ContainsRune("-({[<", r) }))
		}),
		"trim":        {"chars", []any{null}, func(s *state, v any, in []any) any { return sameKind(v, strings.TrimFunc(s.str(v), s.blanksOr(in[0]))) }},
		"string":      of(func(s *state, v any) any { return sameKind(v, s.str(v)) }),
		"safe":        of(func(s *state, v any) any { return markup(s.str(v)) }),
		"escape":      of(func(s *state, v any) any { return markup(s.escapeHTML(v)) }),
		"forceescape": of(func(s *state, v any) any { return markup(s.escapeHTML(s.str(v))) }),
		"replace": {"old new count", []any{null}, func(s *state, v any, in []any) any {
			return s.replace(s.str(v), s.str(in[0]), s.str(in[1]), s.int(unless(in[2], int64(-1))))
		}},
		"format": {all, nil, formatFilter},
		"center": {"width", []any{int64(80)}, func(s *state, v any, in []any) any {
			return s.onStrings["center"].call(s, s.str(v), []any{in[0], " "})
		}},
		"indent":   {"width first blank", []any{int64(4), no, no}, indent},
		"truncate": {"length killwords end leeway", []any{int64(255), no, "...", int64(5)}, truncate},
		"wordcount": of(func(s *state, v any) any {
			return int64(len(strings.FieldsFunc(s.str(v), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })))
		}),
		"tojson": {"ensure_ascii indent separators sort_keys", []any{no, null, null, no}, toJSON},
		"length": of(func(s *state, v any) any {
			if n, ok := s.length(v); ok {
				return int64(n)
			}
			panic(s.errorf("got a %s, which has no length", typeName(v)))
		}),
		"default": {"default_value boolean", []any{"", no}, func(s *state, v any, in []any) any {
			if _, missing := v.(*undefined); missing || truth(in[1]) && !truth(v) {
				return in[0]
			}
			return v
		}},
		"abs": of(func(s *state, v any) any {
			if f, ok := asFloat(v); ok && f < 0 {
				return s.signed("-", v)
			}
			return s.signed("+", v)
		}),
		"int": {"default base", []any{zero, int64(10)}, toInt},
		"float": {"default", []any{0.0}, func(s *state, v any, in []any) any {
			if f, ok := parseFloat(s, v); ok {
				return f
			}
			return in[0]
		}},
		"round": {"precision method", []any{zero, "common"}, round},
		"attr": {"name", nil, func(s *state, v any, in []any) any {
			s.mustExist(v)
			if a, ok := s.attr(v, s.text(in[0])); ok {
				return a
			}
			return noAttribute(v, s.text(in[0]))
		}},

		"list": of(func(s *state, v any) any { return newList(s.collect(v)) }),
		"first": of(func(s *state, v any) any {
			if item, ok := s.iterate(v)(); ok {
				return item
			}
			return &undefined{"there is no first item: the sequence is empty"}
		}),
		"last": of(func(s *state, v any) any {
			if _, once := v.(*iterator); once {
				panic(s.errorf("last: got a generator, want a list (| list)"))
			}
			if item, ok := s.iterate(reverse(s, v))(); ok {
				return item
			}
			return &undefined{"there is no last item: the sequence is empty"}
		}),
		"reverse": of(reverse),
		"items": of(func(s *state, v any) any {
			switch v := v.(type) {
			case *undefined:
				return &iterator{s.iterate(v)}
			case *dict:
				return &iterator{s.iterate(v.items())}
			}
			panic(s.errorf("items: got a %s, want a dictionary", typeName(v)))
		}),
		"join": {"d attribute", []any{"", null}, func(s *state, v any, in []any) any {
			var parts []string
			get := s.getter(in[1], nil)
			for item := range s.each(v) {
				parts = append(parts, s.str(get(item)))
			}
			return s.join(parts, s.str(in[0]))
		}},
		"sum": {"attribute start", []any{null, zero}, func(s *state, v any, in []any) any {
			get, total := s.getter(in[0], nil), in[1]
			for item := range s.each(v) {
				total = s.arithmetic("+", total, get(item))
			}
			return total
		}},
		"min": {"case_sensitive attribute", []any{no, null}, func(s *state, v any, in []any) any { return s.extreme(v, in, -1) }},
		"max": {"case_sensitive attribute", []any{no, null}, func(s *state, v any, in []any) any { return s.extreme(v, in, 1) }},
		"sort": {"reverse case_sensitive attribute", []any{no, no, null}, func(s *state, v any, in []any) any {
			attributes := []any{in[2]}
			if text, ok := asString(in[2]); ok {
				attributes = boxed(strings.Split(text, ","))
			}
			return newList(s.sorted(s.collect(v), truth(in[0]), func(item any) any {
				keys := make([]any, len(attributes))
				for i, a := range attributes {
					keys[i] = s.folded(s.getter(a, nil)(item), in[1])
				}
				return newList(keys)
			}))
		}},
		"dictsort": {"case_sensitive by reverse", []any{no, "key", no}, func(s *state, v any, in []any) any {
			at, known := map[string]int{"key": 0, "value": 1}[s.text(in[1])]
			d, ok := v.(*dict)
			if !ok || !known {
				panic(s.errorf("dictsort: got a %s, want a dictionary, by key or value", typeName(v)))
			}
			return newList(s.sorted(d.items().items, truth(in[2]), func(item any) any { return s.folded(item.(*list).items[at], in[0]) }))
		}},
		"unique": {"case_sensitive attribute", []any{no, null}, func(s *state, v any, in []any) any {
			get, seen := s.getter(in[1], nil), map[any]bool{}
			return filtered(s.iterate(v), func(item any) bool {
				key := s.hashable(s.folded(get(item), in[0]), 0)
				s.built(2 * wordBytes)
				was := seen[key]
				seen[key] = true
				return !was
			})
		}},
		"groupby": {"attribute default case_sensitive", []any{null, no}, groupBy},
		"batch": {"linecount fill_with", []any{null}, func(s *state, v any, in []any) any {
			var out []any
			n := max(1, s.int(in[0]))
			for items := s.collect(v); len(items) > 0; items = items[min(n, len(items)):] {
				out = append(out, s.filled(items[:min(n, len(items))], n, in[1]))
			}
			return &iterator{s.iterate(newList(out))}
		}},
		"slice": {"slices fill_with", []any{null}, func(s *state, v any, in []any) any {
			n, items := s.int(in[0]), s.collect(v)
			if n < 1 || n > maxRange {
				panic(s.errorf("slice: got %d, want 1 to %d", n, maxRange))
			}
			out := make([]any, n)
			each, extra := len(items)/n, len(items)%n
			for i := range out {
				take, want := each, each+min(1, max(0, i+1-extra))
				if i < extra {
					take, want = each+1, each+1
				}
				out[i], items = s.filled(items[:take], want, in[1]), items[take:]
			}
			return &iterator{s.iterate(newList(out))}
		}},
		"map": {all, nil, mapFilter},
	}
	for name, as := range map[string]string{"e": "escape", "count": "length", "d": "default"} {
		table[name] = table[as]
	}
	for _, name := range []string{"upper", "lower", "capitalize"} {
		table[name] = of(func(s *state, v any) any { return sameKind(v, s.cased(name, s.str(v))) })
	}
	for _, name := range []string{"select", "reject", "selectattr", "rejectattr"} {
		table[name] = builtin[any, any]{all, nil, func(s *state, v any, in []any) any {
			return s.selected(v, in[0].(args), strings.HasPrefix(name, "select"), strings.HasSuffix(name, "attr"))
		}}
	}
	return table
}

func formatFilter(s *state, v any, in []any) any {
	a := in[0].(args)
	if len(a.kw) == 0 {
		return s.percent(s.str(v), newTuple(a.pos...))
	}
	if len(a.pos) > 0 {
		panic(s.errorf("format: got arguments of both kinds, want one"))
	}
	return s.percent(s.str(v), dictOf(s, a))
}

func indent(s *state, v any, in []any) any {
	by, ok := asString(in[0])
	if !ok {
		by = s.pad("", s.int(in[0]), ' ', '<')
	}
	lines := s.lines(s.text(v)+"\n", false)
	for i, line := range lines {
		if i > 0 && (line != "" || truth(in[2])) || i == 0 && truth(in[1]) {
			s.built(len(by))
			lines[i] = by + line
		}
	}
	return sameKind(v, s.join(lines, "\n"))
}

func truncate(s *state, v any, in []any) any {
	length, end, leeway := s.int(in[0]), s.text(in[2]), s.int(unless(in[3], int64(5)))
	text := s.runes(s.text(v))
	keep := length - len([]rune(end))
	switch {
	case keep < 0 || leeway < 0:
		panic(s.errorf("truncate: got a length of %d, want at least that of %.40q", length, end))
	case len(text) <= length+leeway:
		return v
	}
	short := string(text[:keep])
	if i := strings.LastIndexByte(short, ' '); i >= 0 && !truth(in[1]) {
		short = short[:i]
	}
	return short + end
}

// parseFloat is Python's float().
func parseFloat(s *state, v any) (float64, bool) {
	text, ok := asString(v)
	if !ok {
		s.mustExist(v)
		return asFloat(v)
	}
	text = strings.TrimFunc(text, isSpace)
	if strings.ContainsAny(text, "xXpP") || strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

func toInt(s *state, v any, in []any) any {
	if n := asBig(v); n != nil {
		return small(n)
	}
	base := s.int(in[1])
	if text, ok := asString(v); ok && (base == 0 || base >= 2 && base <= 36) {
		text = strings.ToLower(strings.TrimFunc(text, isSpace))
		if prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
			text = strings.Replace(text, prefix, "", 1)
		}
		if n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), base, 64); err == nil {
			return n
		}
	}
	if f, ok := parseFloat(s, v); ok && math.Abs(f) < 1<<63 {
		return int64(f)
	}
	return in[0]
}

func round(s *state, v any, in []any) any {
	digits := s.int(in[0])
	x, ok := asFloat(v)
	if !ok || digits > maxDecimals || digits < -maxDecimals {
		panic(s.errorf("round: got a %s and %d digits, want a number and fewer digits", typeName(v), digits))
	}
	scale := math.Pow(10, float64(digits))
	n := asBig(v)
	switch how := s.text(in[1]); {
	case how == "ceil":
		return math.Ceil(x*scale) / scale
	case how == "floor":
		return math.Floor(x*scale) / scale
	case how != "common":
		panic(s.errorf("round: got the method %.40q, want common, ceil or floor", how))
	case n != nil && digits >= 0:
		return small(n)
	case n != nil:
		return int64(math.RoundToEven(x*scale) / scale)
	case digits < 0:
		return math.RoundToEven(x*scale) / scale
	}
	f, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	return f
}

// filtered is what next yields and keep keeps.
func filtered(next func() (any, bool), keep func(any) bool) *iterator {
	return &iterator{func() (any, bool) {
		for item, ok := next(); ok; item, ok = next() {
			if keep(item) {
				return item, true
			}
		}
		return nil, false
	}}
}

// reverse is v from its end.
func reverse(s *state, v any) any {
	if text, ok := asString(v); ok {
		chars := s.runes(text)
		slices.Reverse(chars)
		return sameKind(v, string(chars))
	}
	items := slices.Clone(s.collect(v))
	s.built(wordBytes * len(items))
	slices.Reverse(items)
	if _, once := v.(*iterator); once {
		return newList(items)
	}
	return &iterator{s.iterate(newList(items))}
}

// getter is what gets an attribute such as "function.name" or 0, or otherwise
// where that is undefined. Without an attribute it is the value itself.
func (s *state) getter(attribute, otherwise any) func(any) any {
	parts := []any{attribute}
	if text, ok := asString(attribute); ok || attribute == nil {
		parts = nil
		for part := range strings.SplitSeq(text, ".") {
			if n, err := strconv.ParseUint(part, 10, 63); err == nil {
				parts = append(parts, int64(n))
			} else if ok {
				parts = append(parts, part)
			}
		}
	}
	return func(v any) any {
		for _, part := range parts {
			v = s.item(v, part)
			if _, missing := v.(*undefined); missing && otherwise != nil {
				v = otherwise
			}
		}
		return v
	}
}

// folded is a key for sorting: lower case unless case is to count.
func (s *state) folded(v, caseSensitive any) any {
	if text, ok := asString(v); ok && !truth(caseSensitive) {
		return s.cased("lower", text)
	}
	return v
}

// sorted is items in the order of their keys.
func (s *state) sorted(items []any, reverse bool, key func(any) any) []any {
	type keyed struct{ key, item any }
	keys := make([]keyed, len(items))
	s.built(4 * wordBytes * len(items))
	for i, item := range items {
		keys[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(keys, func(a, b keyed) int {
		if reverse {
			a, b = b, a
		}
		return s.compare(a.key, b.key, 0)
	})
	out := make([]any, len(items))
	for i, k := range keys {
		out[i] = k.item
	}
	return out
}

// extreme is the item that stands to all others as want says.
func (s *state) extreme(v any, in []any, want int) any {
	var best, bestKey any = &undefined{"there is no least or largest item: the sequence is empty"}, absent{}
	get := s.getter(in[1], nil)
	for item := range s.each(v) {
		key := s.folded(get(item), in[0])
		if bestKey == (absent{}) || s.compare(key, bestKey, 0) == want {
			best, bestKey = item, key
		}
	}
	return best
}

// named is the items of groupby's pairs by their names.
func (l *list) named(name string) (any, bool) {
	if i := slices.Index([]string{"grouper", "list"}, name); i >= 0 && l.name == "group" {
		return l.items[i], true
	}
	return nil, false
}

func groupBy(s *state, v any, in []any) any {
	plain := s.getter(in[0], in[1])
	get := func(item any) any { return s.folded(plain(item), in[2]) }
	var groups, members []any
	items := s.sorted(s.collect(v), false, get)
	for i, item := range items {
		members = append(members, item)
		if i+1 == len(items) || !s.equal(get(item), get(items[i+1]), 0) {
			group := newTuple(plain(members[0]), newList(members))
			group.name = "group"
			groups, members = append(groups, group), nil
		}
	}
	return newList(groups)
}

// filled is a list of items and, unless fill is none, of it up to want in all.
func (s *state) filled(items []any, want int, fill any) *list {
	items = slices.Clone(items)
	s.built(wordBytes * (len(items) + 4))
	if n := want - len(items); fill != nil && n > 0 {
		s.built(wordBytes * n)
		items = append(items, slices.Repeat([]any{fill}, n)...)
	}
	return newList(items)
}

func mapFilter(s *state, v any, in []any) any {
	a := in[0].(args)
	var of func(any) any
	if len(a.pos) == 0 {
		if !slices.ContainsFunc(a.kw, func(k named) bool { return k.name == "attribute" }) {
			panic(s.errorf("map: got no filter and no attribute"))
		}
		in := a.bind(s, "map", []string{"attribute", "default"}, []any{nil})
		of = s.getter(in[0], in[1])
	} else {
		name := s.text(a.pos[0])
		a.pos = a.pos[1:]
		of = func(item any) any {
			f, ok := s.filters[name]
			if !ok {
				panic(s.errorf("there is no filter %.80q", name))
			}
			return apply(s, name, f, item, a)
		}
	}
	next := s.maybe(v)
	return &iterator{func() (any, bool) {
		item, ok := next()
		if !ok {
			return nil, false
		}
		return of(item), true
	}}
}

// maybe iterates over v, or over nothing where it is false.
func (s *state) maybe(v any) func() (any, bool) {
	if !truth(v) {
		v = newList(nil)
	}
	return s.iterate(v)
}

// selected is the items of v, or those with an attribute, that pass a test, or
// that do not.
func (s *state) selected(v any, a args, want, attribute bool) any {
	get := s.getter(nil, nil)
	if attribute {
		if len(a.pos) == 0 {
			panic(s.errorf("got no name of an attribute"))
		}
		get = s.getter(a.pos[0], nil)
		a.pos = a.pos[1:]
	}
	test := truth
	if len(a.pos) > 0 {
		name := s.text(a.pos[0])
		t, ok := s.tests[name]
		if !ok {
			panic(s.errorf("there is no test %.80q", name))
		}
		a.pos = a.pos[1:]
		test = func(v any) bool { return apply(s, name, t, v, a) }
	}
	return filtered(s.maybe(v), func(item any) bool { return test(get(item)) == want })
}
