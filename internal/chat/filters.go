package chat

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A filter is what stands behind |; v is what stands before it.
type filter func(s *state, v any, a args) any

// filterOf is a filter by its name, nil if there is none. Those of jinja2 that
// make HTML, choose at random or print for debugging are left out.
func filterOf(name string) filter {
	switch name {
	case "upper", "lower", "capitalize":
		change := stringCase(name)
		return func(s *state, v any, a args) any {
			a.bind(s, name, 0)
			text := s.str(v)
			s.built(len(text))
			return sameKind(v, change(text))
		}
	case "title":
		return func(s *state, v any, a args) any { return sameKind(v, eachWord(s.str(v), true)) }
	case "trim":
		return func(s *state, v any, a args) any {
			return sameKind(v, s.strip("strip", s.str(v), or(a.bind(s, name, 0, "chars")[0], nil)))
		}
	case "string":
		return func(s *state, v any, a args) any { return sameKind(v, s.str(v)) }
	case "safe":
		return func(s *state, v any, a args) any { return markup(s.str(v)) }
	case "escape", "e":
		return func(s *state, v any, a args) any { return markup(s.escapeHTML(v)) }
	case "forceescape":
		return func(s *state, v any, a args) any { return markup(s.escapeHTML(s.str(v))) }
	case "striptags":
		return stripTags
	case "replace":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 2, "old", "new", "count")
			return s.replace(s.str(v), s.str(in[0]), s.str(in[1]), s.wantInt(name, orNone(in[2], int64(-1))))
		}
	case "format":
		return func(s *state, v any, a args) any {
			var values any = newTuple(a.pos...)
			if len(a.kw) > 0 {
				if len(a.pos) > 0 {
					panic(s.errorf("format: got arguments of both kinds, want one"))
				}
				d := newDict()
				for _, k := range a.kw {
					d.set(s, k.name, k.value)
				}
				values = d
			}
			return s.percent(s.str(v), values)
		}
	case "center":
		return func(s *state, v any, a args) any {
			width := or(a.bind(s, name, 0, "width")[0], int64(80))
			return stringMethod(name)(s, s.str(v), args{pos: []any{width}})
		}
	case "indent":
		return indent
	case "truncate":
		return truncate
	case "wordcount":
		return func(s *state, v any, a args) any {
			return int64(len(strings.FieldsFunc(s.str(v), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })))
		}
	case "urlencode":
		return urlEncode
	case "tojson":
		return toJSON
	case "length", "count":
		return func(s *state, v any, a args) any {
			n, ok := s.length(v)
			if !ok {
				panic(s.errorf("got a %s, which has no length", typeName(v)))
			}
			return int64(n)
		}
	case "default", "d":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "default_value", "boolean")
			if _, missing := v.(*undefined); missing || truth(or(in[1], false)) && !truth(v) {
				return or(in[0], "")
			}
			return v
		}
	case "abs":
		return func(s *state, v any, a args) any {
			if f, ok := asFloat(v); ok && (f < 0 || v == true || v == false) {
				n, isInt := asInt(v)
				if isInt {
					return s.integers("*", n, map[bool]int64{true: -1, false: 1}[n < 0])
				}
				return -f
			} else if !ok {
				panic(s.errorf("abs: got a %s, want a number", typeName(v)))
			}
			return v
		}
	case "int":
		return toInt
	case "float":
		return func(s *state, v any, a args) any {
			if f, ok := parseFloat(s, v); ok {
				return f
			}
			return or(a.bind(s, name, 0, "default")[0], 0.0)
		}
	case "round":
		return round
	case "attr":
		return func(s *state, v any, a args) any {
			n := s.wantString(name, a.bind(s, name, 1, "name")[0])
			s.mustExist(v)
			if a, ok := s.attr(v, n); ok {
				return a
			}
			return noAttribute(v, n)
		}
	}
	return sequenceFilter(name)
}

// orNone is v, or other where v was not given or is none.
func orNone(v, other any) any {
	if v = or(v, nil); v == nil {
		return other
	}
	return v
}

func stripTags(s *state, v any, a args) any {
	var b strings.Builder
	text := s.str(v)
	for {
		before, rest, ok := strings.Cut(text, "<")
		b.WriteString(before)
		end := strings.IndexByte(rest, '>')
		if !ok || end < 0 {
			if ok {
				b.WriteString("<" + rest)
			}
			break
		}
		text = rest[end+1:]
	}
	s.built(b.Len())
	plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&quot;", `"`, "&#39;", "'", "&amp;", "&").Replace(b.String())
	return strings.Join(strings.FieldsFunc(plain, isSpace), " ")
}

func indent(s *state, v any, a args) any {
	in := a.bind(s, "indent", 0, "width", "first", "blank")
	by, ok := asString(in[0])
	if !ok {
		by = s.pad("", s.wantInt("indent", or(in[0], int64(4))), ' ', '<')
	}
	text := s.wantString("indent", v)
	lines := s.lines(text+"\n", false)
	for i, line := range lines {
		if i > 0 && (line != "" || truth(or(in[2], false))) || i == 0 && truth(or(in[1], false)) {
			s.built(len(by))
			lines[i] = by + line
		}
	}
	return sameKind(v, s.join(lines, "\n"))
}

func truncate(s *state, v any, a args) any {
	in := a.bind(s, "truncate", 0, "length", "killwords", "end", "leeway")
	length, end := s.wantInt("truncate", or(in[0], int64(255))), s.wantString("truncate", or(in[2], "..."))
	leeway := s.wantInt("truncate", orNone(in[3], int64(5)))
	text := s.runes(s.wantString("truncate", v))
	keep := length - len([]rune(end))
	switch {
	case keep < 0 || leeway < 0:
		panic(s.errorf("truncate: got a length of %d, want at least that of %.40q", length, end))
	case len(text) <= length+leeway:
		return v
	}
	short := string(text[:keep])
	if i := strings.LastIndexByte(short, ' '); i >= 0 && !truth(or(in[1], false)) {
		short = short[:i]
	}
	return short + end
}

func urlEncode(s *state, v any, a args) any {
	quote := func(v any, query bool) string {
		text := strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(s.str(v)))
		if query {
			return strings.ReplaceAll(text, "%20", "+")
		}
		return strings.ReplaceAll(text, "%2F", "/")
	}
	s.built(3 * len(s.str(v)))
	var pairs []any
	switch v := v.(type) {
	case *dict:
		pairs = v.items().items
	case *list, *iterator:
		pairs = s.collect(v)
	default:
		return quote(v, false)
	}
	var parts []string
	for _, p := range pairs {
		kv := s.collect(p)
		if len(kv) != 2 {
			panic(s.errorf("urlencode: want pairs"))
		}
		parts = append(parts, quote(kv[0], true)+"="+quote(kv[1], true))
	}
	return s.join(parts, "&")
}

// parseFloat is Python's float().
func parseFloat(s *state, v any) (float64, bool) {
	if text, ok := asString(v); ok {
		text = strings.TrimFunc(text, isSpace)
		if strings.ContainsAny(text, "xXpP") || strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") {
			return 0, false
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		return f, err == nil || math.IsInf(f, 0)
	}
	s.mustExist(v)
	return asFloat(v)
}

func toInt(s *state, v any, a args) any {
	in := a.bind(s, "int", 0, "default", "base")
	base := s.wantInt("int", or(in[1], int64(10)))
	if n, ok := asInt(v); ok {
		return n
	}
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
	return or(in[0], int64(0))
}

func round(s *state, v any, a args) any {
	in := a.bind(s, "round", 0, "precision", "method")
	digits, how := s.wantInt("round", or(in[0], int64(0))), s.wantString("round", or(in[1], "common"))
	x, ok := asFloat(v)
	if !ok || digits > maxDecimals || digits < -maxDecimals {
		panic(s.errorf("round: got a %s and %d digits, want a number and fewer digits", typeName(v), digits))
	}
	scale := math.Pow(10, float64(digits))
	switch n, isInt := asInt(v); {
	case how == "ceil":
		return math.Ceil(x*scale) / scale
	case how == "floor":
		return math.Floor(x*scale) / scale
	case how != "common":
		panic(s.errorf("round: got the method %.40q, want common, ceil or floor", how))
	case isInt && digits >= 0:
		return n
	case isInt:
		return int64(math.RoundToEven(x*scale) / scale)
	case digits < 0:
		return math.RoundToEven(x*scale) / scale
	}
	f, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	return f
}

// sequenceFilter is a filter of lists and the like.
func sequenceFilter(name string) filter {
	switch name {
	case "list":
		return func(s *state, v any, a args) any { return newList(s.collect(v)) }
	case "first":
		return func(s *state, v any, a args) any {
			if item, ok := s.iterate(v)(); ok {
				return item
			}
			return &undefined{"there is no first item: the sequence is empty"}
		}
	case "last":
		return func(s *state, v any, a args) any {
			if item, ok := s.iterate(reverse(s, v, args{}, true))(); ok {
				return item
			}
			return &undefined{"there is no last item: the sequence is empty"}
		}
	case "reverse":
		return func(s *state, v any, a args) any { return reverse(s, v, a, false) }
	case "items":
		return func(s *state, v any, a args) any {
			switch v := v.(type) {
			case *undefined:
				return &iterator{func() (any, bool) { return nil, false }}
			case *dict:
				return &iterator{s.iterate(v.items())}
			}
			panic(s.errorf("items: got a %s, want a dictionary", typeName(v)))
		}
	case "join":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "d", "attribute")
			get := s.getter(orNone(in[1], nil), nil)
			var parts []string
			for next := s.iterate(v); ; {
				item, ok := next()
				if !ok {
					return s.join(parts, s.str(or(in[0], "")))
				}
				parts = append(parts, s.str(get(item)))
			}
		}
	case "sum":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "attribute", "start")
			get, total := s.getter(orNone(in[0], nil), nil), or(in[1], int64(0))
			for _, item := range s.collect(v) {
				total = s.arithmetic("+", total, get(item))
			}
			return total
		}
	case "min", "max":
		return func(s *state, v any, a args) any { return extreme(s, name, v, a) }
	case "sort":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "reverse", "case_sensitive", "attribute")
			var gets []func(any) any
			if attr, ok := asString(orNone(in[2], nil)); ok {
				for _, part := range strings.Split(attr, ",") {
					gets = append(gets, s.getter(part, nil))
				}
			} else {
				gets = append(gets, s.getter(orNone(in[2], nil), nil))
			}
			return newList(s.sorted(s.collect(v), truth(or(in[0], false)), func(item any) any {
				keys := make([]any, len(gets))
				for i, get := range gets {
					keys[i] = s.folded(get(item), in[1])
				}
				return newList(keys)
			}))
		}
	case "dictsort":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "case_sensitive", "by", "reverse")
			by := map[any]int{"key": 0, "value": 1}
			at, known := by[s.wantString(name, or(in[1], "key"))]
			d, ok := v.(*dict)
			if !ok || !known {
				panic(s.errorf("dictsort: got a %s, want a dictionary, by key or value", typeName(v)))
			}
			return newList(s.sorted(d.items().items, truth(or(in[2], false)), func(item any) any {
				return s.folded(item.(*list).items[at], in[0])
			}))
		}
	case "unique":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 0, "case_sensitive", "attribute")
			get, seen, next := s.getter(orNone(in[1], nil), nil), map[any]bool{}, s.iterate(v)
			return filtered(next, func(item any) bool {
				key := s.hashable(s.folded(get(item), in[0]), 0)
				s.built(2 * wordBytes)
				defer func() { seen[key] = true }()
				return !seen[key]
			})
		}
	case "groupby":
		return groupBy
	case "batch":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 1, "linecount", "fill_with")
			n, items := s.wantInt(name, in[0]), s.collect(v)
			if n < 1 {
				panic(s.errorf("batch: got %d, want 1 or more", n))
			}
			return s.groups(items, orNone(in[1], nil), func(i int) (int, int) { return n, min(n, len(items)-i) })
		}
	case "slice":
		return func(s *state, v any, a args) any {
			in := a.bind(s, name, 1, "slices", "fill_with")
			n, items := s.wantInt(name, in[0]), s.collect(v)
			if n < 1 || n > maxRange {
				panic(s.errorf("slice: got %d, want 1 to %d", n, maxRange))
			}
			return s.slices(items, n, orNone(in[1], nil))
		}
	case "map":
		return mapFilter
	case "select", "reject", "selectattr", "rejectattr":
		return selectFilter(strings.HasPrefix(name, "select"), strings.HasSuffix(name, "attr"))
	}
	return nil
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

// reverse is v from its end; strict takes no generator.
func reverse(s *state, v any, a args, strict bool) any {
	a.bind(s, "reverse", 0)
	if text, ok := asString(v); ok {
		chars := s.runes(text)
		slices.Reverse(chars)
		return sameKind(v, string(chars))
	}
	if _, once := v.(*iterator); once && strict {
		panic(s.errorf("last: got a generator, want a list (| list)"))
	}
	items := slices.Clone(s.collect(v))
	s.built(wordBytes * len(items))
	slices.Reverse(items)
	if _, once := v.(*iterator); once {
		return newList(items)
	}
	return &iterator{s.iterate(newList(items))}
}

// getter is what gets an attribute such as "function.name" or 0, or default
// where that is undefined. Without an attribute it is the value itself.
func (s *state) getter(attribute, otherwise any) func(any) any {
	parts := []any{attribute}
	if text, ok := asString(attribute); ok {
		parts = nil
		for part := range strings.SplitSeq(text, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 && part[0] != '+' {
				parts = append(parts, n)
			} else {
				parts = append(parts, part)
			}
		}
	} else if attribute == nil {
		parts = nil
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
	if text, ok := asString(v); ok && !truth(or(caseSensitive, false)) {
		s.built(len(text))
		return stringCase("lower")(text)
	}
	return v
}

// sorted is items in the order of their keys.
func (s *state) sorted(items []any, reverse bool, key func(any) any) []any {
	type keyed struct{ key, item any }
	all := make([]keyed, len(items))
	s.built(4 * wordBytes * len(items))
	for i, item := range items {
		all[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if reverse {
			a, b = b, a
		}
		return s.compare(a.key, b.key, 0)
	})
	out := make([]any, len(items))
	for i, k := range all {
		out[i] = k.item
	}
	return out
}

func extreme(s *state, name string, v any, a args) any {
	in := a.bind(s, name, 0, "case_sensitive", "attribute")
	get := s.getter(orNone(in[1], nil), nil)
	var best, bestKey any = &undefined{"there is no " + name + ": the sequence is empty"}, nil
	next, first := s.iterate(v), true
	for item, ok := next(); ok; item, ok = next() {
		key := s.folded(get(item), in[0])
		if first || s.compare(key, bestKey, 0) == map[string]int{"min": -1, "max": 1}[name] {
			best, bestKey, first = item, key, false
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

func groupBy(s *state, v any, a args) any {
	in := a.bind(s, "groupby", 1, "attribute", "default", "case_sensitive")
	plain := s.getter(in[0], orNone(in[1], nil))
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

// groups cuts items up: size says for the position i how many a group wants
// and how many it gets, and fill makes up the difference.
func (s *state) groups(items []any, fill any, size func(i int) (want, get int)) any {
	var out []any
	for i := 0; i < len(items); {
		want, get := size(i)
		group := slices.Clone(items[i : i+get])
		if fill != nil {
			s.built(wordBytes * (want - get))
			group = append(group, slices.Repeat([]any{fill}, want-get)...)
		}
		s.built(wordBytes * (get + 4))
		out = append(out, newList(group))
		i += get
	}
	return &iterator{s.iterate(newList(out))}
}

// slices is items in n columns.
func (s *state) slices(items []any, n int, fill any) any {
	s.built(wordBytes * (4*n + len(items)))
	each, extra := len(items)/n, len(items)%n
	out := make([]any, n)
	for i := range n {
		take := each
		if i < extra {
			take++
		}
		column := slices.Clone(items[:take])
		if items = items[take:]; fill != nil && i >= extra {
			column = append(column, fill)
		}
		out[i] = newList(column)
	}
	return &iterator{s.iterate(newList(out))}
}

func mapFilter(s *state, v any, a args) any {
	next := s.maybe(v)
	if len(a.pos) == 0 {
		if len(a.kw) == 0 || !slices.ContainsFunc(a.kw, func(k named) bool { return k.name == "attribute" }) {
			panic(s.errorf("map: got no filter and no attribute"))
		}
		in := a.bind(s, "map", 0, "attribute", "default")
		get := s.getter(in[0], orNone(in[1], nil))
		return &iterator{func() (any, bool) {
			item, ok := next()
			if !ok {
				return nil, false
			}
			return get(item), true
		}}
	}
	name := s.wantString("map", a.pos[0])
	f := filterOf(name)
	return &iterator{func() (any, bool) {
		item, ok := next()
		if !ok {
			return nil, false
		}
		if f == nil {
			panic(s.errorf("there is no filter %.80q", name))
		}
		return f(s, item, args{pos: a.pos[1:], kw: a.kw}), true
	}}
}

// maybe iterates over v, or over nothing where it is false.
func (s *state) maybe(v any) func() (any, bool) {
	if !truth(v) {
		v = newList(nil)
	}
	return s.iterate(v)
}

func selectFilter(want, attribute bool) filter {
	return func(s *state, v any, a args) any {
		next := s.maybe(v)
		get := func(v any) any { return v }
		if attribute {
			if len(a.pos) == 0 {
				panic(s.errorf("got no name of an attribute"))
			}
			get = s.getter(a.pos[0], nil)
			a.pos = a.pos[1:]
		}
		test := func(_ *state, v any, _ args) bool { return truth(v) }
		if len(a.pos) > 0 {
			name := s.wantString("select", a.pos[0])
			if test = testOf(name); test == nil {
				panic(s.errorf("there is no test %.80q", name))
			}
			a.pos = a.pos[1:]
		}
		return filtered(next, func(item any) bool { return test(s, get(item), a) == want })
	}
}
