package chat

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word of a template.
type token struct {
	kind tokenKind
	text string // of a string literal: its value
	line int
}

type tokenKind uint8

const (
	endOfTemplate tokenKind = iota
	data                    // text between tags
	variableBegin
	variableEnd
	blockBegin
	blockEnd
	name
	stringLiteral
	integer
	float
	operator
)

// lexer splits a template as the reference does with trim_blocks and
// lstrip_blocks: the line end after a block or comment goes, and blanks before
// one at the start of a line.
type lexer struct {
	src    string
	pos    int
	line   int
	opened []byte // closing brackets that are awaited
	tokens []token
}

// lex is a template's tokens. It fails by a panic with an *Error.
func lex(src string) []token {
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1}
	for l.pos < len(l.src) {
		l.text()
	}
	l.add(endOfTemplate, "")
	return l.tokens
}

func (l *lexer) fail(text string) { panic(&Error{Line: l.line, Text: oneLine(text)}) }

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// advance moves to a position and counts lines.
func (l *lexer) advance(to int) {
	l.line += strings.Count(l.src[l.pos:to], "\n")
	l.pos = to
}

// blanks is where blanks from i on end.
func (l *lexer) blanks(i int) int {
	return len(l.src) - len(strings.TrimLeftFunc(l.src[i:], isSpace))
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// text takes text up to the next tag and the tag's beginning or, of a comment
// or raw block, all of it.
func (l *lexer) text() {
	at := l.pos
	for {
		i := strings.IndexByte(l.src[at:], '{')
		if i < 0 || at+i+1 >= len(l.src) {
			l.add(data, l.src[l.pos:])
			l.advance(len(l.src))
			return
		}
		if at += i; strings.IndexByte("{%#", l.src[at+1]) >= 0 {
			break
		}
		at++
	}
	tag := l.src[at+1]
	inner, sign := l.sign(at + 2)
	l.data(at, sign, tag != '{')
	switch tag {
	case '#':
		l.comment(inner)
	case '%':
		if end, ok := l.raw(inner, "raw"); ok {
			l.rawBlock(end)
			return
		}
		l.add(blockBegin, "{%")
		l.advance(inner)
		l.tag(blockEnd, "%}")
	default:
		l.add(variableBegin, "{{")
		l.advance(inner)
		l.tag(variableEnd, "}}")
	}
}

// sign is the + or - at i, 0 if there is none, and what follows it.
func (l *lexer) sign(i int) (int, byte) {
	if i < len(l.src) && (l.src[i] == '-' || l.src[i] == '+') {
		return i + 1, l.src[i]
	}
	return i, 0
}

// data adds the text before a tag that begins at to.
func (l *lexer) data(to int, sign byte, block bool) {
	text := l.src[l.pos:to]
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, isSpace)
	case sign == 0 && block:
		line := strings.LastIndexByte(text, '\n') + 1
		if line > 0 || l.pos == 0 || l.src[l.pos-1] == '\n' {
			if strings.TrimLeftFunc(text[line:], isSpace) == "" {
				text = text[:line]
			}
		}
	}
	if text != "" {
		l.add(data, text)
	}
	l.advance(to)
}

// end is what follows the end of a block or comment at i, of which closing is
// the sign.
func (l *lexer) end(i int, closing byte) int {
	switch {
	case closing == '-':
		return l.blanks(i)
	case closing == 0 && i < len(l.src) && l.src[i] == '\n':
		return i + 1
	}
	return i
}

func (l *lexer) comment(inner int) {
	i := strings.Index(l.src[inner:], "#}")
	if i < 0 {
		l.fail("a comment has no end: want #}")
	}
	i += inner
	var closing byte
	if c := l.src[i-1]; i > inner && (c == '-' || c == '+') {
		closing = c
	}
	l.advance(l.end(i+2, closing))
}

// raw reports whether what follows i is the rest of a tag of that word alone,
// and where it ends.
func (l *lexer) raw(i int, word string) (int, bool) {
	i = l.blanks(i)
	if !strings.HasPrefix(l.src[i:], word) {
		return 0, false
	}
	i, sign := l.sign(l.blanks(i + len(word)))
	if !strings.HasPrefix(l.src[i:], "%}") || word == "raw" && sign == '+' {
		return 0, false
	}
	if i += 2; word == "raw" && sign == 0 {
		return i, true // no line end is trimmed here
	}
	return l.end(i, sign), true
}

func (l *lexer) rawBlock(begin int) {
	l.advance(begin)
	for at := begin; ; at += 2 {
		i := strings.Index(l.src[at:], "{%")
		if i < 0 {
			l.fail("a raw block has no end: want {% endraw %}")
		}
		at += i
		inner, sign := l.sign(at + 2)
		if end, ok := l.raw(inner, "endraw"); ok {
			l.data(at, sign, true)
			l.advance(end)
			return
		}
	}
}

// operators are tried in this order.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// tag takes what is in a tag and its end.
func (l *lexer) tag(end tokenKind, closing string) {
	for {
		rest := l.src[l.pos:]
		if len(l.opened) == 0 {
			i, sign := l.sign(l.pos)
			if strings.HasPrefix(l.src[i:], closing) && (sign != '+' || end == blockEnd) {
				l.add(end, closing)
				if i += len(closing); end == blockEnd || sign == '-' {
					i = l.end(i, sign)
				}
				l.advance(i)
				return
			}
		}
		if rest == "" {
			l.fail("the template ends inside a tag: want " + closing)
		}
		c, size := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(c):
			l.advance(l.blanks(l.pos))
		case c >= '0' && c <= '9':
			l.number(rest)
		case c == '_' || unicode.IsLetter(c):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.add(name, rest[:n])
			l.advance(l.pos + n)
		case c == '"' || c == '\'':
			l.string(rest)
		default:
			l.operator(rest, size)
		}
	}
}

func (l *lexer) operator(rest string, size int) {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch op {
		case "{", "(", "[":
			l.opened = append(l.opened, map[string]byte{"{": '}', "(": ')', "[": ']'}[op])
		case "}", ")", "]":
			if len(l.opened) == 0 || l.opened[len(l.opened)-1] != op[0] {
				l.fail("got a " + op + " that closes nothing")
			}
			l.opened = l.opened[:len(l.opened)-1]
		}
		l.add(operator, op)
		l.advance(l.pos + len(op))
		return
	}
	l.fail("got the character " + strconv.QuoteRune([]rune(rest[:size])[0]) + ", which means nothing in a tag")
}

// number takes an integer or a float; 1.real is an integer and a name.
func (l *lexer) number(rest string) {
	digits := func(i int, of string) int {
		for i < len(rest) && (strings.IndexByte(of, rest[i]) >= 0 || rest[i] == '_' && i+1 < len(rest) && strings.IndexByte(of, rest[i+1]) >= 0) {
			i++
		}
		return i
	}
	const decimal = "0123456789"
	kind, n := integer, digits(0, decimal)
	if rest[0] == '0' && len(rest) > 2 {
		of := map[byte]string{'x': decimal + "abcdefABCDEF", 'o': "01234567", 'b': "01"}[rest[1]|0x20]
		if end := digits(2, of); of != "" && end > 2 {
			l.add(integer, rest[:end])
			l.advance(l.pos + end)
			return
		}
	}
	if l.pos == 0 || l.src[l.pos-1] != '.' {
		i := n
		if i+1 < len(rest) && rest[i] == '.' && digits(i+1, decimal) > i+1 {
			i = digits(i+1, decimal)
			kind, n = float, i
		}
		if i+1 < len(rest) && rest[i]|0x20 == 'e' {
			if i++; rest[i] == '+' || rest[i] == '-' {
				i++
			}
			if end := digits(i, decimal); end > i {
				kind, n = float, end
			}
		}
	}
	l.add(kind, rest[:n])
	l.advance(l.pos + n)
}

// string takes a string literal, with Python's escapes.
func (l *lexer) string(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == rest[0]:
			l.add(stringLiteral, b.String())
			l.advance(l.pos + i + 1)
			return
		case c != '\\':
			b.WriteByte(c)
		case i+1 < len(rest):
			i += l.escape(&b, rest[i+1:])
		}
	}
	l.fail("a string has no end")
}

// escape writes what the escape in front of rest stands for, and is its length.
func (l *lexer) escape(b *strings.Builder, rest string) int {
	if i := strings.IndexByte(`\'"abfnrtv`, rest[0]); i >= 0 {
		b.WriteByte("\\'\"\a\b\f\n\r\t\v"[i])
		return 1
	}
	digits, base, skip := map[byte]int{'x': 2, 'u': 4, 'U': 8}[rest[0]], 16, 1
	switch {
	case rest[0] == '\n':
		return 1
	case rest[0] >= '0' && rest[0] <= '7':
		base, skip = 8, 0
		for digits = 1; digits < min(3, len(rest)) && rest[digits] >= '0' && rest[digits] <= '7'; {
			digits++
		}
	case digits == 0:
		b.WriteByte('\\') // not an escape: the backslash stays
		return 0
	}
	if len(rest) < skip+digits {
		l.fail("a string ends inside an escape")
	}
	n, err := strconv.ParseUint(rest[skip:skip+digits], base, 32)
	if err != nil || n > unicode.MaxRune {
		l.fail("got the escape \\" + rest[:skip+digits] + ", which is no character")
	}
	b.WriteRune(rune(n))
	return skip + digits
}
