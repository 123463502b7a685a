package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// spec is how a value is formatted, by % or by str.format.
type spec struct {
	fill             rune
	align, sign      byte // '<', '>', '^', '='; '+', ' ' or '-'
	alternate, comma bool
	width, precision int // precision: -1 if not given
	verb             byte
}

// percent is Python's text % values.
func (s *state) percent(text string, values any) string {
	pos, used := []any{values}, 0
	if l, ok := values.(*list); ok && l.kind == isTuple {
		pos = l.items
	}
	mapping, extra := values.(*dict)
	switch v := values.(type) {
	case *list:
		extra = v.kind != isTuple // Python takes any other for a mapping too
	case *undefined:
		extra = true
	}
	take := func() any {
		if used++; used > len(pos) {
			panic(s.errorf("got too few values for the format %.80q", text))
		}
		return pos[used-1]
	}
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(text, "%")
		b.WriteString(before)
		if text = rest; !more {
			break
		}
		f, v := spec{fill: ' ', align: '>', sign: '-', precision: -1}, any(absent{})
		if strings.HasPrefix(text, "(") {
			name, rest, ok := strings.Cut(text[1:], ")")
			if ok && mapping != nil {
				v, ok = mapping.get(s, name)
			}
			if !ok || mapping == nil {
				panic(s.errorf("got no value for %%(%.80s)", name))
			}
			text, used = rest, len(pos)
		}
		flags := text[:len(text)-len(strings.TrimLeft(text, "#0- +"))]
		for _, flag := range flags {
			switch {
			case flag == '#':
				f.alternate = true
			case flag == '-':
				f.fill, f.align = ' ', '<'
			case flag == '0' && f.align != '<':
				f.fill, f.align = '0', '='
			case flag != '0':
				f.sign = byte(flag)
			}
		}
		text = text[len(flags):]
		number := func() (n int) {
			if strings.HasPrefix(text, "*") {
				text = text[1:]
				return s.int(take())
			}
			n, text = s.digits(text)
			return n
		}
		f.width = number()
		if strings.HasPrefix(text, ".") {
			text = text[1:]
			f.precision = number()
		}
		if text = strings.TrimLeft(text, "hlL"); text == "" {
			panic(s.errorf("got a format that ends too early"))
		}
		if f.verb, text = text[0], text[1:]; f.verb == '%' {
			b.WriteByte('%')
			continue
		}
		if _, missing := v.(absent); missing {
			v = take()
		}
		b.WriteString(s.formatted(s.converted(v, &f), f))
	}
	if !extra && used < len(pos) {
		panic(s.errorf("got %d values for a format of %d", len(pos), used))
	}
	s.built(b.Len())
	return b.String()
}

// digits is the number in front of text, 0 if there is none, and what follows.
func (s *state) digits(text string) (n int, rest string) {
	rest = strings.TrimLeft(text, "0123456789")
	if digits := text[:len(text)-len(rest)]; digits != "" {
		var err error
		if n, err = strconv.Atoi(digits); err != nil || n > maxBytes {
			panic(s.errorf("got the number %.40s in a format, want a smaller one", digits))
		}
	}
	return n, rest
}

// converted is v as % wants it for its verb, which becomes one of str.format.
func (s *state) converted(v any, f *spec) any {
	switch f.verb {
	case 's', 'r', 'a':
		text := s.str(v)
		if f.verb != 's' {
			text = s.reprOf(v)
		}
		if f.verb = 's'; f.align == '=' {
			f.fill, f.align = ' ', '>'
		}
		return text
	case 'i', 'u', 'd':
		f.verb = 'd'
		if x, ok := v.(float64); ok && math.Abs(x) < 1<<62 {
			return int64(x)
		}
	case 'c':
		f.verb = 's'
		if n, ok := asInt(v); ok && n >= 0 && n <= utf8.MaxRune {
			return string(rune(n))
		}
	}
	return v
}

func (s *state) reprOf(v any) string {
	var b strings.Builder
	s.repr(&b, v, 0)
	return b.String()
}

// format is Python's text.format(...).
func (s *state) format(text string, a args) string {
	var b strings.Builder
	auto := 0
	for text != "" {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			i = len(text)
		}
		b.WriteString(text[:i])
		if text = text[i:]; text == "" {
			break
		}
		if len(text) > 1 && text[1] == text[0] {
			b.WriteByte(text[0])
			text = text[2:]
			continue
		}
		end := strings.IndexByte(text, '}')
		if open := strings.IndexByte(text[1:], '{'); open >= 0 && open+1 < end { // a width that is a field
			end = strings.Index(text, "}}") + 1
		}
		if end <= 0 {
			panic(s.errorf("got a format with braces that have no other"))
		}
		b.WriteString(s.field(text[1:end], a, &auto))
		text = text[end+1:]
	}
	s.built(b.Len())
	return b.String()
}

// field is what one {} of a format becomes.
func (s *state) field(field string, a args, auto *int) string {
	path, how, _ := strings.Cut(field, ":")
	path, conversion, converts := strings.Cut(path, "!")
	end := strings.IndexAny(path+".", ".[")
	first, rest := path[:end], path[end:]
	if first == "" {
		first = strconv.Itoa(*auto)
		*auto++
	}
	var v any = absent{}
	if n, err := strconv.ParseUint(first, 10, 31); err == nil && int(n) < len(a.pos) {
		v = a.pos[n]
	}
	for _, k := range a.kw {
		if k.name == first {
			v = k.value
		}
	}
	if _, missing := v.(absent); missing {
		panic(s.errorf("got no value for {%.80s}", field))
	}
	for rest != "" {
		if at, after, ok := strings.Cut(rest[1:], "]"); rest[0] == '[' && ok {
			if n, err := strconv.ParseInt(at, 10, 64); err == nil {
				v = s.item(v, n)
			} else {
				v = s.item(v, at)
			}
			rest = after
			continue
		}
		end := strings.IndexAny(rest[1:]+".", ".[") + 1
		v, rest = s.attribute(v, rest[1:end]), rest[end:]
	}
	if converts {
		if v = any(s.str(v)); conversion == "r" {
			v = s.reprOf(v)
		}
	}
	if strings.Contains(how, "{") {
		how = s.format(how, args{pos: a.pos[min(*auto, len(a.pos)):], kw: a.kw})
	}
	if how == "" {
		return s.str(v)
	}
	return s.formatted(v, s.parseSpec(how, v))
}

// parseSpec reads what follows the colon of a field.
func (s *state) parseSpec(how string, v any) spec {
	f, whole := spec{fill: ' ', sign: '-', precision: -1}, how
	if r, n := utf8.DecodeRuneInString(how); len(how) > n && strings.IndexByte("<>^=", how[n]) >= 0 {
		f.fill, f.align, how = r, how[n], how[n+1:]
	}
	take := func(set string) (c byte) {
		if how != "" && strings.IndexByte(set, how[0]) >= 0 {
			c, how = how[0], how[1:]
		}
		return c
	}
	if f.align == 0 {
		f.align = take("<>^=")
	}
	if c := take("+- "); c != 0 {
		f.sign = c
	}
	f.alternate = take("#") != 0
	if strings.HasPrefix(how, "0") && f.align == 0 {
		f.fill, f.align = '0', '='
	}
	f.width, how = s.digits(how)
	f.comma = take(",") != 0
	if take(".") != 0 {
		f.precision, how = s.digits(how)
	}
	if how != "" {
		f.verb, how = how[0], how[1:]
	}
	if how != "" {
		panic(s.errorf("got the format %.40q, which Python does not know", whole))
	}
	if _, text := asString(v); f.align == 0 {
		f.align = map[bool]byte{true: '<', false: '>'}[text]
	}
	return f
}

// formatted is v as f says.
func (s *state) formatted(v any, f spec) string {
	if text, ok := asString(v); ok {
		if f.verb != 's' && f.verb != 0 || f.align == '=' {
			panic(s.errorf("got a string to format as a number"))
		}
		if chars := s.runes(text); f.precision >= 0 && len(chars) > f.precision {
			text = string(chars[:f.precision])
		}
		return s.pad(text, f.width, f.fill, f.align)
	}
	text, negative := strings.CutPrefix(s.number(v, f), "-")
	sign := ""
	if negative || f.sign != '-' {
		sign = map[bool]string{true: "-", false: string(rune(f.sign))}[negative]
	}
	if f.comma {
		for i := strings.IndexAny(text+".", ".e") - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
	}
	if f.align == '=' {
		return sign + s.pad(text, f.width-len(sign), f.fill, '>')
	}
	return s.pad(sign+text, f.width, f.fill, f.align)
}

// number is a number in the form of a verb.
func (s *state) number(v any, f spec) string {
	n := asBig(v)
	x, isFloat := asFloat(v)
	if f.precision > maxDecimals {
		panic(s.errorf("got a format with %d decimals, want at most %d", f.precision, maxDecimals))
	}
	precision := f.precision
	if precision < 0 {
		precision = 6
	}
	switch {
	case f.verb == 0 || f.verb == 's':
		if f.precision < 0 || n != nil || !isFloat {
			return s.str(v)
		}
		if text := fmt.Sprintf("%.*g", max(1, precision), x); strings.ContainsAny(text, ".eIN") {
			return text
		}
		return fmt.Sprintf("%.*g.0", max(1, precision), x)
	case n != nil && strings.IndexByte("dxXob", f.verb) >= 0:
		verb := string(rune(f.verb))
		if f.alternate {
			verb = map[byte]string{'o': "O", 'd': "d"}[f.verb]
			if verb == "" {
				verb = "#" + string(rune(f.verb))
			}
		}
		return fmt.Sprintf("%"+verb, n)
	case isFloat && (math.IsInf(x, 0) || math.IsNaN(x)):
		return floatRepr(x)
	case isFloat && f.verb == '%':
		return fmt.Sprintf("%.*f%%", precision, x*100)
	case isFloat && strings.IndexByte("fFeEgG", f.verb) >= 0:
		return fmt.Sprintf("%.*"+string(rune(f.verb)), precision, x)
	}
	panic(s.errorf("got a %s to format as %q, want a number that suits it", typeName(v), string(rune(f.verb))))
}

// layouts are C's codes for parts of a time, as Go writes them.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03",
	'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'Z': "MST", 'z': "-0700",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'D': "01/02/06", 'F': "2006-01-02",
	'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM", 'n': "\n", 't': "\t", '%': "%",
}

// strftime is a time in C's format; a - behind the % takes leading zeros away.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(format, "%")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		code, bare := strings.CutPrefix(rest, "-")
		if code == "" || layouts[code[0]] == "" {
			b.WriteByte('%')
			format = rest
			continue
		}
		text := t.Format(layouts[code[0]])
		if bare && len(text) > 1 {
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		}
		b.WriteString(text)
		format = code[1:]
	}
}
