package chat

import (
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
	var b strings.Builder
	pos := []any{values}
	if l, ok := values.(*list); ok && l.kind == isTuple {
		pos = l.items
	}
	mapping, _ := values.(*dict)
	used := 0
	take := func() any {
		if used >= len(pos) {
			panic(s.errorf("got too few values for the format %.80q", text))
		}
		used++
		return pos[used-1]
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		f := spec{fill: ' ', align: '>', sign: '-', precision: -1}
		var v any = absent{}
		i++
		if i < len(text) && text[i] == '(' {
			end := strings.IndexByte(text[i:], ')')
			if end < 0 || mapping == nil {
				panic(s.errorf("got the format %.80q, want a dictionary for its names", text))
			}
			var ok bool
			if v, ok = mapping.get(s, text[i+1:i+end]); !ok {
				panic(s.errorf("got no value for %%(%.80s)", text[i+1:i+end]))
			}
			used, i = len(pos), i+end+1
		}
		for ; i < len(text) && strings.IndexByte("#0- +", text[i]) >= 0; i++ {
			switch c := text[i]; c {
			case '#':
				f.alternate = true
			case '0':
				if f.align != '<' {
					f.fill, f.align = '0', '='
				}
			case '-':
				f.fill, f.align = ' ', '<'
			default:
				f.sign = c
			}
		}
		number := func() int {
			if i < len(text) && text[i] == '*' {
				i++
				return s.wantInt("%", take())
			}
			n, end := s.digits(text, i)
			i = end
			return n
		}
		f.width = number()
		if i < len(text) && text[i] == '.' {
			i++
			f.precision = number()
		}
		for i < len(text) && strings.IndexByte("hlL", text[i]) >= 0 {
			i++
		}
		if i >= len(text) {
			panic(s.errorf("got the format %.80q, which ends too early", text))
		}
		if f.verb = text[i]; f.verb == '%' {
			b.WriteByte('%')
			continue
		}
		if _, missing := v.(absent); missing {
			v = take()
		}
		b.WriteString(s.formatted(s.converted(v, &f), f))
	}
	if mapping == nil && used < len(pos) {
		panic(s.errorf("got too many values for the format %.80q", text))
	}
	s.built(b.Len())
	return b.String()
}

// digits is the number at i, 0 if there is none, and where it ends.
func (s *state) digits(text string, i int) (n, end int) {
	for end = i; end < len(text) && text[end] >= '0' && text[end] <= '9'; end++ {
	}
	if end > i {
		var err error
		if n, err = strconv.Atoi(text[i:end]); err != nil || n > maxBytes {
			panic(s.errorf("got the number %.40s in a format, want a smaller one", text[i:end]))
		}
	}
	return n, end
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
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c:
			i++
			b.WriteByte(c)
		case c == '{':
			end := strings.IndexByte(text[i:], '}')
			if open := strings.IndexByte(text[i+1:], '{'); open >= 0 && open+1 < end { // a width that is a field
				end = i + strings.Index(text[i:], "}}") + 1 - i
			}
			if end <= 0 {
				panic(s.errorf("got the format %.80q, want a } for each {", text))
			}
			b.WriteString(s.field(text[i+1:i+end], a, &auto))
			i += end
		case c == '}':
			panic(s.errorf("got the format %.80q, want a { for each }", text))
		default:
			b.WriteByte(c)
		}
	}
	s.built(b.Len())
	return b.String()
}

// field is what one {} of a format becomes.
func (s *state) field(field string, a args, auto *int) string {
	path, how, _ := strings.Cut(field, ":")
	path, conversion, converts := strings.Cut(path, "!")
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	first, rest := path[:end], path[end:]
	var v any = absent{}
	if first == "" {
		first = strconv.Itoa(*auto)
		*auto++
	}
	if n, err := strconv.Atoi(first); err == nil && n >= 0 {
		if n < len(a.pos) {
			v = a.pos[n]
		}
	} else {
		for _, k := range a.kw {
			if k.name == first {
				v = k.value
			}
		}
	}
	if _, missing := v.(absent); missing {
		panic(s.errorf("got no value for {%.80s}", field))
	}
	for rest != "" {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				panic(s.errorf("got {%.80s}, want a ] for each [", field))
			}
			var at any = rest[1:end]
			if n, err := strconv.ParseInt(rest[1:end], 10, 64); err == nil {
				at = n
			}
			v, rest = s.item(v, at), rest[end+1:]
			continue
		}
		end := strings.IndexAny(rest[1:], ".[") + 1
		if end == 0 {
			end = len(rest)
		}
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
	f := spec{fill: ' ', sign: '-', precision: -1}
	if _, n := utf8.DecodeRuneInString(how); len(how) > n && strings.IndexByte("<>^=", how[n]) >= 0 {
		f.fill, _ = utf8.DecodeRuneInString(how)
		f.align, how = how[n], how[n+1:]
	} else if strings.IndexByte("<>^=", how[0]) >= 0 {
		f.align, how = how[0], how[1:]
	}
	i := 0
	is := func(set string) bool { return i < len(how) && strings.IndexByte(set, how[i]) >= 0 }
	if is("+- ") {
		f.sign = how[i]
		i++
	}
	if is("#") {
		f.alternate = true
		i++
	}
	if is("0") && f.align == 0 {
		f.fill, f.align = '0', '='
	}
	f.width, i = s.digits(how, i)
	if is(",_") {
		f.comma = true
		i++
	}
	if is(".") {
		f.precision, i = s.digits(how, i+1)
	}
	if i < len(how) {
		f.verb = how[i]
		i++
	}
	if i != len(how) {
		panic(s.errorf("got the format %.40q, which Python does not know", how))
	}
	_, text := asString(v)
	switch {
	case f.align == 0 && text:
		f.align = '<'
	case f.align == 0:
		f.align = '>'
	}
	return f
}

// formatted is v as f says.
func (s *state) formatted(v any, f spec) string {
	if text, ok := asString(v); ok {
		if f.verb != 's' && f.verb != 0 || f.align == '=' {
			panic(s.errorf("got a string to format as a number"))
		}
		if f.precision >= 0 {
			if chars := s.runes(text); len(chars) > f.precision {
				text = string(chars[:f.precision])
			}
		}
		return s.pad(text, f.width, f.fill, f.align)
	}
	text := s.number(v, f)
	sign := ""
	switch {
	case strings.HasPrefix(text, "-"):
		sign, text = "-", text[1:]
	case f.sign != '-':
		sign = string(rune(f.sign))
	}
	if f.comma {
		whole := strings.IndexAny(text, ".e")
		if whole < 0 {
			whole = len(text)
		}
		for i := whole - 3; i > 0; i -= 3 {
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
	n, isInt := asInt(v)
	x, isFloat := asFloat(v)
	if f.precision > maxDecimals {
		panic(s.errorf("got a format with %d decimals, want at most %d", f.precision, maxDecimals))
	}
	prefix := func(p string) string {
		if f.alternate {
			return p
		}
		return ""
	}
	switch f.verb {
	case 'd', 'x', 'X', 'o', 'b':
		if !isInt {
			break
		}
		base := map[byte]int{'d': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}[f.verb]
		text := strconv.FormatInt(n, base)
		minus := strings.HasPrefix(text, "-")
		text = strings.TrimPrefix(text, "-")
		if base != 10 {
			text = prefix("0"+strings.ToLower(string(rune(f.verb)))) + text
		}
		if f.verb == 'X' {
			text = strings.ToUpper(text)
		}
		if minus {
			text = "-" + text
		}
		return text
	case 'f', 'F', 'e', 'E', 'g', 'G', '%':
		if !isFloat {
			break
		}
		if f.precision < 0 {
			f.precision = 6
		}
		switch f.verb {
		case '%':
			return strconv.FormatFloat(x*100, 'f', f.precision, 64) + "%"
		case 'g', 'G':
			f.precision = max(f.precision, 1)
			return generalFloat(x, f.precision)
		}
		return strings.NewReplacer("+Inf", "inf", "-Inf", "-inf", "NaN", "nan").Replace(strconv.FormatFloat(x, f.verb|0x20, f.precision, 64))
	case 0, 's':
		if f.precision >= 0 && isFloat && !isInt {
			text := generalFloat(x, max(f.precision, 1))
			if !strings.ContainsAny(text, ".en") {
				text += ".0"
			}
			return text
		}
		return s.str(v)
	}
	panic(s.errorf("got a %s to format as %q, want a number that suits it", typeName(v), string(rune(f.verb))))
}

// generalFloat is C's %g.
func generalFloat(x float64, precision int) string {
	text := strconv.FormatFloat(x, 'e', precision-1, 64)
	at := strings.IndexByte(text, 'e')
	if at < 0 {
		return floatRepr(x)
	}
	exponent, _ := strconv.Atoi(text[at+1:])
	trim := func(t string) string {
		if strings.Contains(t, ".") {
			t = strings.TrimRight(strings.TrimRight(t, "0"), ".")
		}
		return t
	}
	if exponent < -4 || exponent >= precision {
		return trim(text[:at]) + text[at:]
	}
	return trim(strconv.FormatFloat(x, 'f', precision-1-exponent, 64))
}

// strftime is a time in C's format.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03",
		'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'Z': "MST", 'z': "-0700",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'D': "01/02/06", 'F': "2006-01-02",
		'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM", 'n': "\n", 't': "\t", '%': "%",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format)
		if bare {
			i++
		}
		_, week := t.ISOWeek()
		text, known := layouts[format[i]]
		switch text = t.Format(text); format[i] {
		case 'k', 'l':
			text, known = strconv.Itoa(t.Hour()), true
			if format[i] == 'l' {
				text = strconv.Itoa((t.Hour()+11)%12 + 1)
			}
			text = strings.Repeat(" ", max(0, 2-len(text))) + text
		case 'f':
			text, known = t.Format(".000000")[1:], true
		case 's':
			text, known = strconv.FormatInt(t.Unix(), 10), true
		case 'u', 'w':
			text, known = strconv.Itoa(int(t.Weekday())), true
			if format[i] == 'u' && t.Weekday() == time.Sunday {
				text = "7"
			}
		case 'C':
			text, known = t.Format("2006")[:2], true
		case 'G':
			year, _ := t.ISOWeek()
			text, known = strconv.Itoa(year), true
		case 'U', 'W', 'V':
			n := week
			if format[i] != 'V' {
				n = (t.YearDay() + 6 - (int(t.Weekday())+map[byte]int{'U': 0, 'W': 6}[format[i]])%7) / 7
			}
			text, known = strings.Repeat("0", map[bool]int{true: 1}[n < 10])+strconv.Itoa(n), true
		}
		switch {
		case !known:
			text = format[i-1 : i+1]
		case bare:
			if text = strings.TrimLeft(text, "0 "); text == "" {
				text = "0"
			}
		}
		b.WriteString(text)
	}
	return b.String()
}
