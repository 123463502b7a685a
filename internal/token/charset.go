package token

import (
	"fmt"
	"strings"
	"unicode"
)

// charSet is a set of characters that a pattern matches one of.
type charSet struct {
	ascii  [128]bool // the answers below 0x80, filled by seal
	cats   categories
	ranges [][2]rune
	is     []func(rune) bool
	subs   []*charSet // sets within the set
	and    *charSet   // what [...&&...] cuts it with
	negate bool
}

// has reports whether r is in the set.
func (s *charSet) has(r rune) bool {
	if r < 0x80 {
		return s.ascii[r]
	}
	return s.find(r)
}

func (s *charSet) find(r rune) bool {
	in := s.cats != 0 && s.cats.is(r)
	for i := 0; i < len(s.ranges) && !in; i++ {
		in = s.ranges[i][0] <= r && r <= s.ranges[i][1]
	}
	for i := 0; i < len(s.is) && !in; i++ {
		in = s.is[i](r)
	}
	for i := 0; i < len(s.subs) && !in; i++ {
		in = s.subs[i].find(r)
	}
	return (in && (s.and == nil || s.and.find(r))) != s.negate
}

// seal works out the answers for ASCII.
func (s *charSet) seal() *charSet {
	for i := range s.ascii {
		s.ascii[i] = s.find(rune(i))
	}
	return s
}

// fold adds the other cases of the set's single characters.
func (s *charSet) fold() {
	for _, r := range s.ranges {
		for c := r[0]; c <= r[1] && c-r[0] < 512; c++ {
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				s.ranges = append(s.ranges, [2]rune{f, f})
			}
		}
	}
}

// shorthand is what a letter behind a backslash stands for.
func shorthand(c byte) (*charSet, bool) {
	s := &charSet{negate: c >= 'A' && c <= 'Z'}
	switch c | 0x20 {
	case 's':
		s.is = append(s.is, unicode.IsSpace)
	case 'd':
		s.cats = categoriesOf("Nd")
	case 'w':
		s.is = append(s.is, isWord)
	case 'h':
		s.ranges = [][2]rune{{'0', '9'}, {'a', 'f'}, {'A', 'F'}}
	default:
		return nil, false
	}
	return s, true
}

// property is the set of \p{name}, whose case, spaces, - and _ do not count.
func property(name string) (*charSet, error) {
	plain := strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
	plain, negate := strings.CutPrefix(plain, "^")
	s := &charSet{negate: negate}
	if plain != "" && len(plain) <= 2 {
		s.cats = categoriesOf(strings.ToUpper(plain[:1]) + plain[1:])
	}
	if long, ok := longNames[plain]; ok {
		s.cats = categoriesOf(long)
	}
	switch plain {
	case "any":
		s.is = append(s.is, func(rune) bool { return true })
	case "alpha", "alphabetic":
		s.is = append(s.is, func(r rune) bool {
			return (categoriesOf("L") | categoriesOf("Nl")).is(r) || unicode.Is(unicode.Other_Alphabetic, r)
		})
	case "alnum":
		s.is = append(s.is, func(r rune) bool {
			return (categoriesOf("L") | categoriesOf("Nl") | categoriesOf("Nd")).is(r) || unicode.Is(unicode.Other_Alphabetic, r)
		})
	case "space", "whitespace":
		s.is = append(s.is, unicode.IsSpace)
	case "word":
		s.is = append(s.is, isWord)
	case "punct":
		s.is = append(s.is, isPunctuation)
	case "lower":
		s.cats = categoriesOf("Ll")
	case "upper":
		s.cats = categoriesOf("Lu")
	case "digit":
		s.cats = categoriesOf("Nd")
	case "xdigit":
		s.ranges = [][2]rune{{'0', '9'}, {'a', 'f'}, {'A', 'F'}}
	case "han":
		// Unicode 15.1 has ideographs that Go 1.26's tables lack.
		s.ranges = [][2]rune{{0x2EBF0, 0x2EE5D}}
	}
	for script, table := range unicode.Scripts {
		if strings.ToLower(strings.ReplaceAll(script, "_", "")) == plain {
			s.is = append(s.is, func(r rune) bool { return unicode.Is(table, r) })
		}
	}
	if s.cats == 0 && s.ranges == nil && s.is == nil {
		return nil, fmt.Errorf("got \\p{%s}, want a general category or script of Unicode", name)
	}
	return s, nil
}

var longNames = map[string]string{
	"letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z", "other": "C",
	"uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo",
	"nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No",
	"control": "Cc", "cntrl": "Cc", "spaceseparator": "Zs", "lineseparator": "Zl", "paragraphseparator": "Zp",
}
