package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// changing are the methods that change a value in place, which the reference's
// sandbox keeps from templates.
var changing = map[string]string{
	"list": " append clear extend insert pop remove reverse sort ",
	"dict": " clear pop popitem setdefault update ",
}

// methodOf is a method of v as a function, nil if there is none, and whether it
// would change the value.
func (s *state) methodOf(v any, name string) (f *function, changes bool) {
	if strings.Contains(changing[typeName(v)], " "+name+" ") {
		return nil, true
	}
	table := map[string]methods{"str": s.onStrings, "Markup": s.onStrings, "dict": s.onDicts, "list": s.onLists, "tuple": s.onLists, "float": s.onFloats}[typeName(v)]
	if m, ok := table[name]; ok {
		return &function{name, func(s *state, a args) any { return apply(s, name, m, v, a) }}, false
	}
	return nil, false
}

func floatTable() methods {
	return methods{"is_integer": of(func(s *state, v any) any { return v.(float64) == float64(int64(v.(float64))) })}
}

func dictTable() methods {
	view := func(name string, items func(*dict) []any) builtin[any, any] {
		return of(func(s *state, v any) any {
			s.built(4 * wordBytes * len(v.(*dict).keys))
			return &list{items: items(v.(*dict)), kind: isView, name: "dict_" + name}
		})
	}
	return methods{
		"get": {"key default", []any{nil}, func(s *state, v any, in []any) any {
			if item, ok := v.(*dict).get(s, in[0]); ok {
				return item
			}
			return in[1]
		}},
		"items":  view("items", func(d *dict) []any { return d.items().items }),
		"keys":   view("keys", func(d *dict) []any { return d.keys }),
		"values": view("values", func(d *dict) []any { return d.values }),
		"copy":   of(func(s *state, v any) any { return v }),
	}
}

func listTable() methods {
	return methods{
		"copy": of(func(s *state, v any) any { return v }),
		"index": {"value", nil, func(s *state, v any, in []any) any {
			if i := slices.IndexFunc(v.(*list).items, func(item any) bool { return s.equal(item, in[0], 0) }); i >= 0 {
				return int64(i)
			}
			panic(s.errorf("list.index: the value is not in the list"))
		}},
		"count": {"value", nil, func(s *state, v any, in []any) any {
			n := int64(0)
			for _, item := range v.(*list).items {
				if s.equal(item, in[0], 0) {
					n++
				}
			}
			return n
		}},
	}
}

// stringTable is the methods of strings.
func stringTable() methods {
	table := methods{}
	add := func(name, params string, defaults []any, call func(s *state, text string, in []any) any) {
		table[name] = builtin[any, any]{params, defaults, func(s *state, v any, in []any) any {
			text, _ := asString(v)
			s.step(len(text) / scanned)
			result := call(s, text, in)
			if text, ok := result.(string); ok {
				return sameKind(v, text)
			}
			return result
		}}
	}
	for name, test := range stringTests {
		add(name, "", nil, func(_ *state, text string, _ []any) any { return test(text) })
	}
	for name := range stringCases {
		add(name, "", nil, func(s *state, text string, _ []any) any { return s.cased(name, text) })
	}
	for name, cut := range map[string]func(string, func(rune) bool) string{"strip": strings.TrimFunc, "lstrip": strings.TrimLeftFunc, "rstrip": strings.TrimRightFunc} {
		add(name, "chars", []any{nil}, func(s *state, text string, in []any) any { return cut(text, s.blanksOr(in[0])) })
	}
	add("split", "sep maxsplit", []any{nil, int64(-1)}, func(s *state, text string, in []any) any { return s.split(text, in, false) })
	add("rsplit", "sep maxsplit", []any{nil, int64(-1)}, func(s *state, text string, in []any) any { return s.split(text, in, true) })
	add("splitlines", "keepends", []any{false}, func(s *state, text string, in []any) any { return stringList(s.lines(text, truth(in[0]))) })
	for name, has := range map[string]func(string, string) bool{"startswith": strings.HasPrefix, "endswith": strings.HasSuffix} {
		add(name, "prefix start end", []any{nil, nil}, func(s *state, text string, in []any) any {
			text = s.between(text, in[1], in[2])
			if l, ok := in[0].(*list); ok && l.kind == isTuple {
				return slices.ContainsFunc(l.items, func(v any) bool { return has(text, s.text(v)) })
			}
			return has(text, s.text(in[0]))
		})
	}
	add("replace", "old new count", []any{int64(-1)}, func(s *state, text string, in []any) any {
		return s.replace(text, s.text(in[0]), s.text(in[1]), s.int(in[2]))
	})
	for _, name := range []string{"find", "rfind", "index", "rindex", "count"} {
		add(name, "sub start end", []any{nil, nil}, func(s *state, text string, in []any) any { return s.find(name, text, in) })
	}
	add("join", "iterable", nil, func(s *state, text string, in []any) any {
		var parts []string
		for _, v := range s.collect(in[0]) {
			parts = append(parts, s.text(v))
		}
		return s.join(parts, text)
	})
	add("format", all, nil, func(s *state, text string, in []any) any { return s.format(text, in[0].(args)) })
	for name, cut := range map[string]func(string, string) string{"removeprefix": strings.TrimPrefix, "removesuffix": strings.TrimSuffix} {
		add(name, "part", nil, func(s *state, text string, in []any) any { return cut(text, s.text(in[0])) })
	}
	for name, index := range map[string]func(string, string) int{"partition": strings.Index, "rpartition": strings.LastIndex} {
		add(name, "sep", nil, func(s *state, text string, in []any) any {
			by := s.text(in[0])
			switch i := index(text, by); {
			case by == "":
				panic(s.errorf("%s: got an empty separator", name))
			case i >= 0:
				return newTuple(text[:i], by, text[i+len(by):])
			case name == "partition":
				return newTuple(text, "", "")
			}
			return newTuple("", "", text)
		})
	}
	for name, align := range map[string]byte{"center": '^', "ljust": '<', "rjust": '>'} {
		add(name, "width fillchar", []any{" "}, func(s *state, text string, in []any) any {
			fill := []rune(s.text(in[1]))
			if len(fill) != 1 {
				panic(s.errorf("%s: want one character to fill with", name))
			}
			width := s.int(in[0])
			if gap := width - utf8.RuneCountInString(text); align == '^' && gap > 0 && gap&width&1 == 1 {
				text = s.pad(text, width-1, fill[0], '^')
				return s.pad(text, width, fill[0], '>') // Python puts the odd one first
			}
			return s.pad(text, width, fill[0], align)
		})
	}
	add("zfill", "width", nil, func(s *state, text string, in []any) any {
		sign := ""
		if text != "" && strings.IndexByte("+-", text[0]) >= 0 {
			sign = text[:1]
		}
		return sign + s.pad(text[len(sign):], s.int(in[0])-len(sign), '0', '>')
	})
	return table
}

// blanksOr is what strip takes away: the characters of chars, or blanks.
func (s *state) blanksOr(chars any) func(rune) bool {
	if chars == nil {
		return isSpace
	}
	set := s.text(chars)
	return func(r rune) bool {
		s.step(1 + len(set)/scanned)
		return strings.ContainsRune(set, r)
	}
}

// split is Python's split, or its rsplit.
func (s *state) split(text string, in []any, fromEnd bool) any {
	by, blanks, most := "", in[0] == nil, s.int(in[1])
	if !blanks {
		if by = s.text(in[0]); by == "" {
			panic(s.errorf("split: got an empty separator"))
		}
	}
	near, far := strings.TrimLeftFunc, strings.TrimRightFunc
	if fromEnd {
		near, far = far, near
	}
	var parts []string
	for rest := text; ; most-- {
		s.built(wordBytes)
		if blanks {
			if rest = near(rest, isSpace); rest == "" {
				break
			}
		}
		at, width := -1, 0
		if most != 0 {
			at, width = cutAt(rest, by, fromEnd)
		}
		if at < 0 {
			if blanks && most != 0 {
				rest = far(rest, isSpace)
			}
			parts = append(parts, rest)
			break
		}
		if fromEnd {
			parts, rest = append(parts, rest[at+width:]), rest[:at]
		} else {
			parts, rest = append(parts, rest[:at]), rest[at+width:]
		}
	}
	if fromEnd {
		slices.Reverse(parts)
	}
	return stringList(parts)
}

// cutAt is where the first or last separator of text is, a blank where by is
// empty, and its length.
func cutAt(text, by string, last bool) (at, width int) {
	switch {
	case by != "" && last:
		return strings.LastIndex(text, by), len(by)
	case by != "":
		return strings.Index(text, by), len(by)
	case last:
		at = strings.LastIndexFunc(text, isSpace)
	default:
		at = strings.IndexFunc(text, isSpace)
	}
	if at >= 0 {
		_, width = utf8.DecodeRuneInString(text[at:])
	}
	return at, width
}

// lines is a text's lines by Python's idea of line ends.
func (s *state) lines(text string, keep bool) (lines []string) {
	for text != "" {
		s.built(wordBytes)
		at := strings.IndexFunc(text, func(r rune) bool {
			return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
		})
		if at < 0 {
			return append(lines, text)
		}
		_, width := utf8.DecodeRuneInString(text[at:])
		if strings.HasPrefix(text[at:], "\r\n") {
			width = 2
		}
		line := text[:at]
		if keep {
			line = text[:at+width]
		}
		lines, text = append(lines, line), text[at+width:]
	}
	return lines
}

// between is text[from:to], of which either may be none.
func (s *state) between(text string, from, to any) string {
	if from == nil && to == nil {
		return text
	}
	return s.slice(text, [3]expr{constant(from), constant(to)}).(string)
}

func (s *state) replace(text, old, with string, most int) string {
	n := strings.Count(text, old)
	if most >= 0 {
		n = min(n, most)
	}
	if len(with) > 0 && n > maxBytes/len(with) {
		s.built(maxBytes + 1)
	}
	s.built(len(text) + n*max(0, len(with)-len(old)))
	return strings.Replace(text, old, with, n)
}

func (s *state) find(name, text string, in []any) any {
	sub, part := s.text(in[0]), s.between(text, in[1], in[2])
	if name == "count" {
		return int64(strings.Count(part, sub))
	}
	at := strings.Index(part, sub)
	if strings.HasPrefix(name, "r") {
		at = strings.LastIndex(part, sub)
	}
	if at < 0 {
		if strings.HasSuffix(name, "index") {
			panic(s.errorf("%s: the text is not in the string", name))
		}
		return int64(-1)
	}
	before := s.int(unless(in[1], int64(0)))
	if before < 0 {
		before = max(0, before+utf8.RuneCountInString(text))
	}
	return int64(before + utf8.RuneCountInString(part[:at]))
}

func (s *state) join(parts []string, by string) string {
	for _, p := range parts {
		s.built(len(p) + len(by))
	}
	return strings.Join(parts, by)
}

// pad fills text up to a width; align is the side that the text is on.
func (s *state) pad(text string, width int, fill rune, align byte) string {
	gap := width - utf8.RuneCountInString(text)
	if gap <= 0 {
		return text
	}
	s.built(len(text) + gap*utf8.RuneLen(fill))
	left := map[byte]int{'<': 0, '>': gap, '^': gap / 2}[align]
	return strings.Repeat(string(fill), left) + text + strings.Repeat(string(fill), gap-left)
}

// cased is text with the case of its letters changed by a method.
func (s *state) cased(name, text string) string {
	s.built(len(text))
	return stringCases[name](text)
}

var stringCases = map[string]func(string) string{
	"upper":    func(text string) string { return cases.Upper(language.Und).String(text) },
	"lower":    func(text string) string { return cases.Lower(language.Und).String(text) },
	"casefold": func(text string) string { return cases.Fold().String(text) },
	"title":    func(text string) string { return eachWord(text, unicode.IsLetter) },
	"capitalize": func(text string) string {
		_, n := utf8.DecodeRuneInString(text)
		return cases.Title(language.Und, cases.NoLower).String(text[:n]) + cases.Lower(language.Und).String(text[n:])
	},
	"swapcase": func(text string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsUpper(r) {
				return unicode.ToLower(r)
			}
			return unicode.ToUpper(r)
		}, text)
	},
}

// eachWord begins each word with a capital.
func eachWord(text string, part func(rune) bool) string {
	inside := false
	return strings.Map(func(r rune) rune {
		was := inside
		switch inside = part(r); {
		case inside && was:
			return unicode.ToLower(r)
		case inside:
			return unicode.ToTitle(r)
		}
		return r
	}, text)
}

// stringTests are the methods that say what a string consists of.
var stringTests = map[string]func(string) bool{
	"isalpha":   each(unicode.IsLetter),
	"isalnum":   each(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
	"isdigit":   each(unicode.IsDigit),
	"isdecimal": each(unicode.IsDigit),
	"isnumeric": each(unicode.IsNumber),
	"isspace":   each(isSpace),
	"isascii": func(text string) bool {
		return text == "" || each(func(r rune) bool { return r < utf8.RuneSelf })(text)
	},
	"isprintable": func(text string) bool { return text == "" || each(unicode.IsPrint)(text) },
	"islower": func(text string) bool {
		return strings.ContainsFunc(text, unicode.IsLower) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsUpper(r) || unicode.IsTitle(r) })
	},
	"isupper": func(text string) bool {
		return strings.ContainsFunc(text, unicode.IsUpper) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLower(r) || unicode.IsTitle(r) })
	},
	"istitle": func(text string) bool {
		return text == eachWord(text, unicode.IsLetter) && strings.ContainsFunc(text, unicode.IsUpper)
	},
	"isidentifier": func(text string) bool {
		return text != "" && !unicode.IsDigit([]rune(text)[0]) && each(func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })(text)
	},
}

// each reports whether there are characters, all of a kind.
func each(is func(rune) bool) func(string) bool {
	return func(text string) bool {
		return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !is(r) })
	}
}
