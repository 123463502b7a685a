package token

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is looked for in the text itself, before the text
// is cut into pieces.
type addedToken struct {
	text           string
	id             int32
	lstrip, rstrip bool // takes the white space to its left, right with it
	singleWord     bool // only where no word character is next to it
}

// addedSet finds added tokens. There are a few of them in most models and a
// few thousand at the most, and text seldom has their first byte, so tokens
// grouped by that byte do as well as an automaton.
type addedSet struct {
	tokens []addedToken // by first byte, then the longest first
	first  [257]int32   // tokens[first[b]:first[b+1]] begin with byte b
}

// newAddedSet takes tokens of distinct, non-empty texts.
func newAddedSet(tokens []addedToken) addedSet {
	s := addedSet{tokens: slices.Clone(tokens)}
	slices.SortFunc(s.tokens, func(a, b addedToken) int {
		return cmp.Or(cmp.Compare(a.text[0], b.text[0]), cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
	})
	for _, t := range s.tokens {
		s.first[int(t.text[0])+1]++
	}
	for b := range 256 {
		s.first[b+1] += s.first[b]
	}
	return s
}

// addedMatch is where an added token was found, with the white space it takes.
type addedMatch struct {
	start, end int
	id         int32 // none at the end of the text
}

// find returns the first added token in text[from:].
func (s *addedSet) find(text string, from int) addedMatch {
	if len(s.tokens) > 0 {
		for at := from; at < len(text); at++ {
			b := int(text[at])
			if s.first[b] == s.first[b+1] {
				continue
			}
			t := s.at(text, at)
			if t == nil {
				continue
			}
			end := at + len(t.text)
			if t.singleWord && besideWord(text, at, end) {
				at = end - 1
				continue
			}
			m := addedMatch{start: at, end: end, id: t.id}
			if t.lstrip {
				m.start = from + len(strings.TrimRightFunc(text[from:at], unicode.IsSpace))
			}
			if t.rstrip {
				m.end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			return m
		}
	}
	return addedMatch{start: len(text), end: len(text), id: none}
}

// at returns the longest added token that text has at a place, or nil.
func (s *addedSet) at(text string, at int) *addedToken {
	b := int(text[at])
	for i := s.first[b]; i < s.first[b+1]; i++ {
		if strings.HasPrefix(text[at:], s.tokens[i].text) {
			return &s.tokens[i]
		}
	}
	return nil
}

// besideWord reports whether a word character is next to text[start:end].
func besideWord(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return start > 0 && isWord(before) || end < len(text) && isWord(after)
}

// isWord is \w as in Unicode's technical standard 18, near enough: alphabetic,
// mark, decimal number, connector punctuation.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc)
}
