package token

import (
	"unicode"
	"unicode/utf8"
)

// class is what GPT-2's pattern tells apart.
type class uint8

const (
	other class = iota
	letter
	number
	space
)

// classOf returns r's class. Ill-formed bytes come as U+FFFD, which is other.
func classOf(r rune) class {
	if r < utf8.RuneSelf {
		switch {
		case uint32(r|0x20)-'a' < 26:
			return letter
		case r == ' ' || uint32(r)-'\t' < 5:
			return space
		case uint32(r)-'0' < 10:
			return number
		}
		return other
	}
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// nextPiece returns the length in bytes of the piece that text, which is not
// empty, begins with. It is the first alternative of the pattern in the
// package comment that matches at text's start.
func nextPiece(text string) int {
	if n := contraction(text); n > 0 {
		return n
	}
	start := 0
	if text[0] == ' ' && len(text) > 1 {
		start = 1
	}
	c, n := classAt(text[start:])
	if c != space {
		return start + n + run(text[start+n:], c)
	}
	return spaces(text)
}

// contraction returns the length of the English suffix that text begins with,
// or 0. Only lower case counts, as in the pattern.
func contraction(text string) int {
	if text[0] != '\'' || len(text) < 2 {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(text) < 3 {
		return 0
	}
	switch text[1:3] {
	case "re", "ve", "ll":
		return 3
	}
	return 0
}

// classAt returns the class and length of text's first character.
func classAt(text string) (class, int) {
	if text[0] < utf8.RuneSelf {
		return classOf(rune(text[0])), 1
	}
	r, n := utf8.DecodeRuneInString(text)
	return classOf(r), n
}

// run returns how many bytes at text's start are characters of class c.
func run(text string, c class) int {
	i := 0
	if c == letter { // most text is ASCII letters
		for i < len(text) && uint32(text[i]|0x20)-'a' < 26 {
			i++
		}
	}
	for i < len(text) {
		got, n := classAt(text[i:])
		if got != c {
			break
		}
		i += n
	}
	return i
}

// spaces returns the length of the piece that the white space at text's start
// gives: all of it at the end of text, else all but its last character, which
// is left to the word behind it, unless it is the only one.
func spaces(text string) int {
	i, last := 0, 0
	for i < len(text) {
		c, n := classAt(text[i:])
		if c != space {
			if i > last {
				return i - last
			}
			break
		}
		i += n
		last = n
	}
	return i
}
