package token

import (
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// piece is a part of the text on its way through the pre-tokenizers.
type piece struct {
	text  string
	first bool // the text begins with it
}

// splitter is a pre-tokenizer: it hands the pieces of a piece on, in order.
type splitter interface {
	split(m *pattern.Matcher, p piece, next func(piece))
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
	by       *pattern.Pattern
	behavior behavior
	invert   bool
}

func (s splitBy) split(m *pattern.Matcher, p piece, next func(piece)) {
	out := cutter{p: p, next: next}
	if s.behavior == isolated { // inverted or not, it cuts at both ends of a match
		s.by.Each(m, p.text, func(start, end int) {
			out.cut(start)
			out.cut(end)
		})
		out.cut(len(p.text))
		return
	}
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
	s.by.Each(m, p.text, func(start, end int) {
		part(at, start, false)
		if part(start, end, true); start == end {
			out.cut(start)
		}
		at = end
	})
	part(at, len(p.text), false)
	out.cut(len(p.text))
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

// gpt2Pattern is how GPT-2 cuts text (Radford et al. 2019).
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// byteLevel is the ByteLevel pre-tokenizer. Only where others follow does it
// spell bytes as characters: the model works on the bytes.
type byteLevel struct {
	by     *pattern.Pattern // nil: no cut
	prefix bool             // a space goes before every piece without one
	spell  bool
}

func (s byteLevel) split(m *pattern.Matcher, p piece, next func(piece)) {
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

func (s metaspace) split(m *pattern.Matcher, p piece, next func(piece)) {
	p.text = strings.ReplaceAll(p.text, " ", s.replacement)
	if !strings.HasPrefix(p.text, s.replacement) && (s.prepend == "always" || s.prepend == "first" && p.first) {
		p.text = s.replacement + p.text
	}
	if !s.cut {
		next(p)
		return
	}
	splitBy{by: pattern.Literal(s.replacement), behavior: mergedWithNext}.split(m, p, next)
}
