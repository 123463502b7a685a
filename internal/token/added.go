package token

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// addedToken is a token that is looked for in the text itself, before the text
// is cut into pieces.
type addedToken struct {
	text           string
	id             int32
	lstrip, rstrip bool // takes the white space to its left, right with it
	singleWord     bool // only where no word character is next to it
}

// addedSet finds added tokens.
type addedSet struct {
	tokens []addedToken // by text
	first  [257]int32   // tokens[first[b]:first[b+1]] begin with byte b
}

// newAddedSet takes tokens of non-empty texts. Of equal texts, which normalizing
// makes, the first counts.
func newAddedSet(tokens []addedToken) addedSet {
	s := addedSet{tokens: slices.Clone(tokens)}
	slices.SortStableFunc(s.tokens, func(a, b addedToken) int { return cmp.Compare(a.text, b.text) })
	s.tokens = slices.CompactFunc(s.tokens, func(a, b addedToken) bool { return a.text == b.text })
	for _, t := range s.tokens {
		s.first[int(t.text[0])+1]++
	}
	for b := range 256 {
		s.first[b+1] += s.first[b]
	}
	return s
}

// addedPart is a part of a text: an added token with the white space it takes,
// or what is between such, with id none.
type addedPart struct {
	start, end int
	id         int32
}

// each calls f for the parts of text. Tokens are found leftmost first and the
// longest at a place, and what one took by its white space does not keep the
// next from being found, as in the reference: parts may overlap there.
func (s *addedSet) each(text string, f func(addedPart)) {
	done := 0
	for at := 0; len(s.tokens) > 0 && at < len(text); {
		b := int(text[at])
		if s.first[b] == s.first[b+1] {
			at++
			continue
		}
		t := s.longest(text[at:], s.first[b], s.first[b+1])
		if t == nil {
			at++
			continue
		}
		p := addedPart{at, at + len(t.text), t.id}
		at = p.end
		if t.singleWord && besideWord(text, p.start, p.end) {
			continue
		}
		if t.lstrip {
			p.start = max(done, len(strings.TrimRightFunc(text[:p.start], unicode.IsSpace)))
		}
		if t.rstrip {
			p.end = len(text) - len(strings.TrimLeftFunc(text[p.end:], unicode.IsSpace))
		}
		if done < p.start {
			f(addedPart{done, p.start, none})
		}
		if p.start < p.end { // else another token took its text
			f(p)
		}
		done = p.end
	}
	if done < len(text) {
		f(addedPart{done, len(text), none})
	}
}

// longest returns the longest of tokens[lo:hi] that text begins with, or nil.
// They have its first byte, and each further byte leaves fewer.
func (s *addedSet) longest(text string, lo, hi int32) *addedToken {
	var found *addedToken
	for n := 1; lo < hi; n++ {
		if len(s.tokens[lo].text) == n { // of those with n bytes in common the shortest is the first
			found = &s.tokens[lo]
			lo++
		}
		if n == len(text) {
			break
		}
		list := s.tokens[lo:hi]
		from := sort.Search(len(list), func(i int) bool { return list[i].text[n] >= text[n] })
		to := sort.Search(len(list), func(i int) bool { return list[i].text[n] > text[n] })
		lo, hi = lo+int32(from), lo+int32(to)
	}
	return found
}

// besideWord reports whether a word character is next to text[start:end].
func besideWord(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return start > 0 && pattern.IsWord(before) || end < len(text) && pattern.IsWord(after)
}
