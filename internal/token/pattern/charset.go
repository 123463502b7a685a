package pattern

import (
	"fmt"
	"strings"
	"unicode"
)

// runes tells the characters of a set from others.
type runes func(r rune) bool

// charSet is a set of characters that a pattern matches one of.
type charSet struct {
	ascii [128]bool // the answers below 0x80
	has   runes
}

func newCharSet(has runes) *charSet {
	s := &charSet{has: has}
	for i := range s.ascii {
		s.ascii[i] = has(rune(i))
	}
	return s
}

func between(lo, hi rune) runes { return func(r rune) bool { return lo <= r && r <= hi } }

func not(set runes) runes { return func(r rune) bool { return !set(r) } }

func oneOf(sets ...runes) runes {
	if len(sets) == 1 {
		return sets[0]
	}
	return func(r rune) bool {
		for _, in := range sets {
			if in(r) {
				return true
			}
		}
		return false
	}
}

func allOf(sets ...runes) runes {
	if len(sets) == 1 {
		return sets[0]
	}
	return func(r rune) bool {
		for _, in := range sets {
			if !in(r) {
				return false
			}
		}
		return true
	}
}

// folded is a set with the other cases of its characters.
func folded(set runes) runes {
	return func(r rune) bool {
		if set(r) {
			return true
		}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if set(f) {
				return true
			}
		}
		return false
	}
}

// shorthand is what a letter behind a backslash stands for, nil for others.
func shorthand(c rune) runes {
	var set runes
	switch c | 0x20 {
	case 's':
		set = unicode.IsSpace
	case 'd':
		set = categoriesOf("Nd").is
	case 'w':
		set = isWord
	case 'h':
		set = isHex
	case 'n', 'o':
		if c == 'N' {
			return not(between('\n', '\n'))
		} else if c == 'O' {
			return not(oneOf())
		}
		return nil
	default:
		return nil
	}
	if c < 'a' {
		return not(set)
	}
	return set
}

// property is the set of \p{name}, whose case, spaces, - and _ do not count.
func property(name string) (runes, error) {
	plain := strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
	plain, negate := strings.CutPrefix(plain, "^")
	set := named(plain)
	if set == nil {
		return oneOf(), fmt.Errorf("got \\p{%s}, want a general category or script of Unicode", name)
	}
	if negate {
		return not(set), nil
	}
	return set, nil
}

// posix is the set of [:name:], which differs from \p{name} for some.
func posix(name string) (runes, error) {
	switch name {
	case "punct":
		return (categoriesOf("P") | categoriesOf("S")).is, nil
	case "word":
		return func(r rune) bool { return IsWord(r) && !joins(r) }, nil
	}
	return property(name)
}

// named is the set of a name in small letters, nil for an unknown one.
func named(name string) runes {
	category := longNames[name]
	if name != "" && len(name) <= 2 {
		category = strings.ToUpper(name[:1]) + name[1:]
	}
	if set := categoriesOf(category); set != 0 {
		return set.is
	}
	switch name {
	case "any":
		return not(oneOf())
	case "alpha", "alphabetic":
		return isAlphabetic
	case "alnum":
		return oneOf(isAlphabetic, categoriesOf("Nd").is)
	case "space", "whitespace":
		return unicode.IsSpace
	case "word":
		return isWord
	case "punct":
		return categoriesOf("P").is
	case "lower":
		return oneOf(categoriesOf("Ll").is, func(r rune) bool { return unicode.Is(unicode.Other_Lowercase, r) })
	case "upper":
		return oneOf(categoriesOf("Lu").is, func(r rune) bool { return unicode.Is(unicode.Other_Uppercase, r) })
	case "xdigit":
		return isHex
	}
	for script, table := range unicode.Scripts {
		if strings.ToLower(strings.ReplaceAll(script, "_", "")) != name {
			continue
		}
		set := func(r rune) bool { return unicode.Is(table, r) }
		if name == "han" { // Unicode 15.1 has ideographs that Go 1.26's tables lack
			return oneOf(set, between(0x2EBF0, 0x2EE5D))
		}
		return set
	}
	return nil
}

func isHex(r rune) bool { return '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'f' }

var longNames = map[string]string{
	"letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z", "other": "C",
	"uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo",
	"nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No",
	"digit":   "Nd",
	"control": "Cc", "cntrl": "Cc", "spaceseparator": "Zs", "lineseparator": "Zl", "paragraphseparator": "Zp",
}
