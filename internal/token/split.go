package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// piece is a part of the text on its way through the pre-tokenizers.
type piece struct {
	text  string
	first bool // the text begins with it
}

// splitter is a pre-tokenizer: it hands the pieces of a piece on, in order.
type splitter interface {
	split(m *matcher, p piece, next func(piece))
}

// finder finds what a split goes by. A match may be empty.
type finder interface {
	find(m *matcher, text string, from int) (start, end int, ok bool)
}

// behavior is what becomes of the matches that a split goes by.
type behavior uint8

const (
	isolated behavior = iota
	removed
	mergedWithPrevious
	mergedWithNext
	contiguous
)

var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "MergedWithPrevious": mergedWithPrevious,
	"MergedWithNext": mergedWithNext, "Contiguous": contiguous,
}

// splitBy cuts at the matches of by or, inverted, takes what is between them
// for matches.
type splitBy struct {
	by       finder
	behavior behavior
	invert   bool
}

func (s splitBy) split(m *matcher, p piece, next func(piece)) {
	out := cutter{p: p, next: next}
	wasMatch := false // as the reference starts
	part := func(from, to int, match bool) {
		if from == to {
			return
		}
		match = match != s.invert
		switch s.behavior {
		case removed:
			if out.cut(from); match {
				out.from = to
			}
		case contiguous:
			if match != wasMatch {
				out.cut(from)
			}
		case mergedWithPrevious:
			if !match || wasMatch {
				out.cut(from)
			}
		case mergedWithNext:
			if match || !wasMatch {
				out.cut(from)
			}
		default:
			out.cut(from)
		}
		wasMatch = match
	}
	at := 0
	eachMatch(s.by, m, p.text, func(start, end int) {
		part(at, start, false)
		if part(start, end, true); start == end {
			out.cut(start)
		}
		at = end
	})
	part(at, len(p.text), false)
	out.cut(len(p.text))
}

// eachMatch calls f for the matches in text. An empty match right behind
// another match does not count.
func eachMatch(by finder, m *matcher, text string, f func(start, end int)) {
	ended := -1
	for from := 0; from <= len(text); {
		start, end, ok := by.find(m, text, from)
		if !ok {
			return
		}
		if start == end && end == ended {
			from = end + max(1, runeLen(text[end:]))
			continue
		}
		f(start, end)
		from, ended = end, end
	}
}

func runeLen(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	return n
}

// cutter hands a piece on in parts.
type cutter struct {
	p    piece
	from int
	next func(piece)
}

func (c *cutter) cut(to int) {
	if to > c.from {
		c.next(piece{c.p.text[c.from:to], c.p.first && c.from == 0})
		c.from = to
	}
}

// runeFinder finds single characters.
type runeFinder func(rune) bool

func (f runeFinder) find(_ *matcher, text string, from int) (start, end int, ok bool) {
	for i, r := range text[from:] {
		if f(r) {
			return from + i, from + i + runeLen(text[from+i:]), true
		}
	}
	return 0, 0, false
}

// stringFinder finds a text.
type stringFinder string

func (f stringFinder) find(_ *matcher, text string, from int) (start, end int, ok bool) {
	if i := strings.Index(text[from:], string(f)); i >= 0 && f != "" {
		return from + i, from + i + len(f), true
	}
	return 0, 0, false
}

// wordFinder finds runs of word characters and runs of others that are not
// white space.
type wordFinder struct{}

func (wordFinder) find(_ *matcher, text string, from int) (start, end int, ok bool) {
	for i, r := range text[from:] {
		if unicode.IsSpace(r) {
			continue
		}
		word := isWord(r)
		n := strings.IndexFunc(text[from+i:], func(c rune) bool { return unicode.IsSpace(c) || isWord(c) != word })
		if n < 0 {
			n = len(text) - from - i
		}
		return from + i, from + i + n, true
	}
	return 0, 0, false
}

// gpt2Pattern is how GPT-2 cuts text (Radford et al. 2019).
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// byteLevel is the ByteLevel pre-tokenizer. Only where others follow does it
// spell bytes as characters: the model works on the bytes.
type byteLevel struct {
	by     finder // nil: no cut
	prefix bool   // a space goes before every piece without one
	spell  bool
}

func (s byteLevel) split(m *matcher, p piece, next func(piece)) {
	if s.prefix && !strings.HasPrefix(p.text, " ") {
		p.text = " " + p.text
	}
	if s.spell {
		plain := next
		next = func(p piece) { plain(piece{spell(p.text), p.first}) }
	}
	if s.by == nil {
		next(p)
		return
	}
	splitBy{by: s.by}.split(m, p, next)
}

// metaspace is the Metaspace pre-tokenizer: a visible character for spaces.
type metaspace struct {
	replacement string
	prepend     string // always, first or never
	cut         bool
}

func (s metaspace) split(m *matcher, p piece, next func(piece)) {
	p.text = strings.ReplaceAll(p.text, " ", s.replacement)
	if !strings.HasPrefix(p.text, s.replacement) && (s.prepend == "always" || s.prepend == "first" && p.first) {
		p.text = s.replacement + p.text
	}
	if !s.cut {
		next(p)
		return
	}
	splitBy{by: stringFinder(s.replacement), behavior: mergedWithNext}.split(m, p, next)
}
