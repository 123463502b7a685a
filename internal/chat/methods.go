package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// A method is one of Python's, of the value that it is given.
type method func(s *state, of any, a args) any

// changing are the methods that change a value in place, which the reference's
// sandbox keeps from templates.
var changing = map[string]string{
	"list": " append clear extend insert pop remove reverse sort ",
	"dict": " clear pop popitem setdefault update ",
}

// methodOf is a method by its name, nil if there is none, and whether it would
// change the value.
func methodOf(v any, name string) (m method, changes bool) {
	if strings.Contains(changing[typeName(v)], " "+name+" ") {
		return nil, true
	}
	switch v.(type) {
	case string, markup:
		if f := stringMethod(name); f != nil {
			return func(s *state, of any, a args) any {
				text, _ := asString(of)
				s.step(len(text) / scanned)
				return f(s, text, a)
			}, false
		}
	case *dict:
		return dictMethod(name), false
	case *list:
		return listMethod(name), false
	case float64:
		if name == "is_integer" {
			return func(_ *state, of any, _ args) any { return of == float64(int64(of.(float64))) }, false
		}
	}
	return nil, false
}

func dictMethod(name string) method {
	switch name {
	case "get":
		return func(s *state, of any, a args) any {
			in := a.bind(s, name, 1, "key", "default")
			if v, ok := of.(*dict).get(s, in[0]); ok {
				return v
			}
			return or(in[1], nil)
		}
	case "items":
		return func(s *state, of any, a args) any {
			s.built(4 * wordBytes * len(of.(*dict).keys))
			return of.(*dict).items()
		}
	case "keys":
		return func(s *state, of any, a args) any {
			return &list{items: of.(*dict).keys, kind: isView, name: "dict_keys"}
		}
	case "values":
		return func(s *state, of any, a args) any {
			return &list{items: of.(*dict).values, kind: isView, name: "dict_values"}
		}
	case "copy":
		return func(s *state, of any, a args) any { return of }
	}
	return nil
}

func listMethod(name string) method {
	find := func(s *state, of any, a args) (first, count int) {
		first = -1
		for i, item := range of.(*list).items {
			if s.equal(item, a.bind(s, name, 1, "value")[0], 0) {
				if count++; first < 0 {
					first = i
				}
			}
		}
		return first, count
	}
	switch name {
	case "index":
		return func(s *state, of any, a args) any {
			i, _ := find(s, of, a)
			if i < 0 {
				panic(s.errorf("list.index: the value is not in the list"))
			}
			return int64(i)
		}
	case "count":
		return func(s *state, of any, a args) any {
			_, n := find(s, of, a)
			return int64(n)
		}
	case "copy":
		return func(s *state, of any, a args) any { return of }
	}
	return nil
}

// stringMethod is a method of strings.
func stringMethod(name string) func(s *state, text string, a args) any {
	if f := stringTest(name); f != nil {
		return func(s *state, text string, a args) any {
			a.bind(s, name, 0)
			return f(text)
		}
	}
	if f := stringCase(name); f != nil {
		return func(s *state, text string, a args) any {
			a.bind(s, name, 0)
			s.built(len(text))
			return f(text)
		}
	}
	switch name {
	case "strip", "lstrip", "rstrip":
		return func(s *state, text string, a args) any {
			return s.strip(name, text, or(a.bind(s, name, 0, "chars")[0], nil))
		}
	case "split", "rsplit":
		return func(s *state, text string, a args) any { return s.split(name, text, a) }
	case "splitlines":
		return func(s *state, text string, a args) any {
			keep := truth(or(a.bind(s, name, 0, "keepends")[0], false))
			return stringList(s.lines(text, keep))
		}
	case "startswith", "endswith":
		return func(s *state, text string, a args) any {
			in := a.bind(s, name, 1, "prefix", "start", "end")
			text = s.between(text, in[1], in[2])
			has := map[string]func(string, string) bool{"startswith": strings.HasPrefix, "endswith": strings.HasSuffix}[name]
			if l, ok := in[0].(*list); ok && l.kind == isTuple {
				return slices.ContainsFunc(l.items, func(v any) bool { return has(text, s.wantString(name, v)) })
			}
			return has(text, s.wantString(name, in[0]))
		}
	case "replace":
		return func(s *state, text string, a args) any {
			in := a.bind(s, name, 2, "old", "new", "count")
			return s.replace(text, s.wantString(name, in[0]), s.wantString(name, in[1]), s.wantInt(name, or(in[2], int64(-1))))
		}
	case "find", "rfind", "index", "rindex", "count":
		return func(s *state, text string, a args) any { return s.find(name, text, a) }
	case "join":
		return func(s *state, text string, a args) any {
			items := s.collect(a.bind(s, name, 1, "iterable")[0])
			parts := make([]string, len(items))
			for i, v := range items {
				parts[i] = s.wantString(name, v)
			}
			return s.join(parts, text)
		}
	case "format":
		return func(s *state, text string, a args) any { return s.format(text, a) }
	case "format_map":
		return func(s *state, text string, a args) any {
			d, ok := a.bind(s, name, 1, "mapping")[0].(*dict)
			if !ok {
				panic(s.errorf("format_map: want a dictionary"))
			}
			a = args{}
			for i, k := range d.keys {
				a.kw = append(a.kw, named{s.str(k), d.values[i]})
			}
			return s.format(text, a)
		}
	case "removeprefix", "removesuffix":
		return func(s *state, text string, a args) any {
			cut := map[string]func(string, string) string{"removeprefix": strings.TrimPrefix, "removesuffix": strings.TrimSuffix}[name]
			return cut(text, s.wantString(name, a.bind(s, name, 1, "prefix")[0]))
		}
	case "partition", "rpartition":
		return func(s *state, text string, a args) any {
			by := s.wantString(name, a.bind(s, name, 1, "sep")[0])
			if by == "" {
				panic(s.errorf("%s: got an empty separator", name))
			}
			if name == "partition" {
				if before, after, ok := strings.Cut(text, by); ok {
					return newTuple(before, by, after)
				}
				return newTuple(text, "", "")
			}
			if i := strings.LastIndex(text, by); i >= 0 {
				return newTuple(text[:i], by, text[i+len(by):])
			}
			return newTuple("", "", text)
		}
	case "center", "ljust", "rjust":
		return func(s *state, text string, a args) any {
			in := a.bind(s, name, 1, "width", "fillchar")
			align := map[string]byte{"center": '^', "ljust": '<', "rjust": '>'}[name]
			width, fill := s.wantInt(name, in[0]), []rune(s.wantString(name, or(in[1], " ")))
			if len(fill) != 1 {
				panic(s.errorf("%s: want one character to fill with", name))
			}
			if gap := width - utf8.RuneCountInString(text); align == '^' && gap > 0 && gap&width&1 == 1 {
				text = s.pad(text, width-1, fill[0], '^')
				return s.pad(text, width, fill[0], '>') // Python puts the odd one first
			}
			return s.pad(text, width, fill[0], align)
		}
	case "zfill":
		return func(s *state, text string, a args) any {
			width, sign := s.wantInt(name, a.bind(s, name, 1, "width")[0]), ""
			if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
				sign, text = text[:1], text[1:]
			}
			return sign + s.pad(text, width-len(sign), '0', '>')
		}
	case "expandtabs":
		return func(s *state, text string, a args) any {
			return s.expandTabs(text, s.wantInt(name, or(a.bind(s, name, 0, "tabsize")[0], int64(8))))
		}
	}
	return nil
}

func (s *state) expandTabs(text string, size int) string {
	var b strings.Builder
	column := 0
	for _, r := range text {
		switch r {
		case '\t':
			if size > 0 {
				n := size - column%size
				s.built(n)
				b.WriteString(strings.Repeat(" ", n))
				column += n
			}
			continue
		case '\n', '\r':
			column = -1
		}
		column++
		b.WriteRune(r)
	}
	s.built(len(text))
	return b.String()
}

// strip takes blanks, or the characters of chars, off the ends of text.
func (s *state) strip(name, text string, chars any) string {
	cut := isSpace
	if chars != nil {
		set := s.wantString(name, chars)
		s.step(len(set) / scanned)
		cut = func(r rune) bool {
			s.step(len(set) / scanned)
			return strings.ContainsRune(set, r)
		}
	}
	if name != "rstrip" {
		text = strings.TrimLeftFunc(text, cut)
	}
	if name != "lstrip" {
		text = strings.TrimRightFunc(text, cut)
	}
	return text
}

func (s *state) split(name, text string, a args) any {
	in := a.bind(s, name, 0, "sep", "maxsplit")
	most := s.wantInt(name, or(in[1], int64(-1)))
	by, blanks := "", or(in[0], nil) == nil
	if !blanks {
		if by = s.wantString(name, in[0]); by == "" {
			panic(s.errorf("%s: got an empty separator", name))
		}
	}
	var parts []string
	fromEnd := name == "rsplit"
	for rest := text; ; most-- {
		s.built(wordBytes)
		if blanks {
			rest = map[bool]func(string, func(rune) bool) string{false: strings.TrimLeftFunc, true: strings.TrimRightFunc}[fromEnd](rest, isSpace)
			if rest == "" {
				break
			}
		}
		at, width := -1, len(by)
		if most != 0 {
			at, width = cutAt(rest, by, blanks, fromEnd)
		}
		if at < 0 {
			if blanks { // the last part keeps blanks within, and loses those at its far end
				rest = map[bool]func(string, func(rune) bool) string{true: strings.TrimLeftFunc, false: strings.TrimRightFunc}[fromEnd](rest, func(r rune) bool { return most != 0 && isSpace(r) })
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

// cutAt is where the first or last separator of rest is, and its length.
func cutAt(rest, by string, blanks, fromEnd bool) (at, width int) {
	switch {
	case blanks && fromEnd:
		at = strings.LastIndexFunc(rest, isSpace)
	case blanks:
		at = strings.IndexFunc(rest, isSpace)
	case fromEnd:
		return strings.LastIndex(rest, by), len(by)
	default:
		return strings.Index(rest, by), len(by)
	}
	if at < 0 {
		return at, 0
	}
	_, width = utf8.DecodeRuneInString(rest[at:])
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
		lines = append(lines, line)
		text = text[at+width:]
	}
	return lines
}

// between is text[from:to], of which either may be absent or none.
func (s *state) between(text string, from, to any) string {
	from, to = or(from, nil), or(to, nil)
	if from == nil && to == nil {
		return text
	}
	return s.slice(text, [3]expr{constant(from), constant(to), nil}).(string)
}

func (s *state) replace(text, old, with string, most int) string {
	n := strings.Count(text, old)
	if most >= 0 {
		n = min(n, most)
	}
	if len(with) > 0 && n > maxBytes/len(with) {
		s.built(maxBytes + 1)
	}
	s.built(len(text) + n*(len(with)-len(old)))
	return strings.Replace(text, old, with, n)
}

func (s *state) find(name, text string, a args) any {
	in := a.bind(s, name, 1, "sub", "start", "end")
	sub := s.wantString(name, in[0])
	part := s.between(text, in[1], in[2])
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
	before := 0
	if from := or(in[1], nil); from != nil {
		if before = s.wantInt(name, from); before < 0 {
			before = max(0, before+utf8.RuneCountInString(text))
		}
	}
	return int64(before + utf8.RuneCountInString(part[:at]))
}

func (s *state) join(parts []string, by string) string {
	n := 0
	for _, p := range parts {
		s.built(len(p) + len(by))
		n += len(p)
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

// stringCase is a method that changes the case of letters.
func stringCase(name string) func(string) string {
	switch name {
	case "upper":
		return cases.Upper(language.Und).String
	case "lower":
		return cases.Lower(language.Und).String
	case "casefold":
		return cases.Fold().String
	case "title":
		return func(text string) string { return eachWord(text, false) }
	case "capitalize":
		return capitalize
	case "swapcase":
		return func(text string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsUpper(r) {
					return unicode.ToLower(r)
				}
				return unicode.ToUpper(r)
			}, text)
		}
	}
	return nil
}

func capitalize(text string) string {
	_, n := utf8.DecodeRuneInString(text)
	return cases.Title(language.Und, cases.NoLower).String(text[:n]) + cases.Lower(language.Und).String(text[n:])
}

// eachWord begins each word with a capital. A word is letters in a row or, as
// the filter has it, what lies between blanks and opening brackets.
func eachWord(text string, filter bool) string {
	var b strings.Builder
	inside := false
	for _, r := range text {
		part := unicode.IsLetter(r)
		if filter {
			part = !isSpace(r) && !strings.ContainsRune("-({[<", r)
		}
		switch {
		case part && inside:
			b.WriteRune(unicode.ToLower(r))
		case part:
			b.WriteRune(unicode.ToTitle(r))
		default:
			b.WriteRune(r)
		}
		inside = part
	}
	return b.String()
}

// stringTest is a method that says what a string consists of.
func stringTest(name string) func(string) bool {
	all := func(is func(rune) bool) func(string) bool {
		return func(text string) bool {
			return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !is(r) })
		}
	}
	cased := func(is, not func(rune) bool) func(string) bool {
		return func(text string) bool { return strings.ContainsFunc(text, is) && !strings.ContainsFunc(text, not) }
	}
	switch name {
	case "isalpha":
		return all(unicode.IsLetter)
	case "isalnum":
		return all(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	case "isdigit", "isdecimal":
		return all(unicode.IsDigit)
	case "isnumeric":
		return all(unicode.IsNumber)
	case "isspace":
		return all(isSpace)
	case "isascii":
		return func(text string) bool {
			return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
		}
	case "isprintable":
		return func(text string) bool { return text == "" || all(unicode.IsPrint)(text) }
	case "islower":
		return cased(unicode.IsLower, func(r rune) bool { return unicode.IsUpper(r) || unicode.IsTitle(r) })
	case "isupper":
		return cased(unicode.IsUpper, func(r rune) bool { return unicode.IsLower(r) || unicode.IsTitle(r) })
	case "istitle":
		return func(text string) bool {
			return text == eachWord(text, false) && strings.ContainsFunc(text, unicode.IsUpper)
		}
	case "isidentifier":
		return func(text string) bool {
			return text != "" && !unicode.IsDigit([]rune(text)[0]) && all(func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })(text)
		}
	}
	return nil
}
