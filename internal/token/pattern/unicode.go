package pattern

import (
	_ "embed"
	"strings"
	"unicode"
)

// unicode16 holds the general categories of Unicode 16.0, as unicode16.py
// writes them. The reference splits text by this version, and the unicode
// package's version changes with Go's.
//
//go:embed unicode16.bin
var unicode16 string

// categoryNames are the names of the categories in the order of their numbers.
const categoryNames = "CcCfCnCoCsLlLmLoLtLuMcMeMnNdNlNoPcPdPePfPiPoPsScSkSmSoZlZpZs"

const unicodeBlocks = (unicode.MaxRune + 1) / 256

// categories is a set of general categories.
type categories uint32

// categoriesOf returns the set that a name as in \p{name} stands for: a
// category, or by one letter all that begin with it. It is empty for others.
func categoriesOf(name string) categories {
	var set categories
	for i := 0; i < len(categoryNames); i += 2 {
		if name != "" && len(name) <= 2 && strings.HasPrefix(categoryNames[i:i+2], name) {
			set |= 1 << (i / 2)
		}
	}
	return set
}

// category returns the set of r's category alone.
func category(r rune) categories {
	if uint32(r) > unicode.MaxRune {
		return 0
	}
	block := int(unicode16[r>>8])
	return 1 << unicode16[unicodeBlocks+block<<8+int(r&0xFF)]
}

// is reports whether r has one of the categories.
func (c categories) is(r rune) bool { return category(r)&c != 0 }

const (
	markOrLetter categories = 0b11111111 << 5 // L and M
	wordNumbers  categories = 0b1011 << 13    // Nd, Nl, Pc without No
)

// IsWord is \w of Unicode's technical standard 18: alphabetic, mark, decimal
// number, connector punctuation, and what joins letters. The reference goes by
// it outside of patterns.
func IsWord(r rune) bool {
	if r < 0x80 {
		return r == '_' || uint32(r|0x20)-'a' < 26 || uint32(r)-'0' < 10
	}
	return (markOrLetter | wordNumbers).is(r) || unicode.Is(unicode.Other_Alphabetic, r) || joins(r)
}

func joins(r rune) bool { return r == 0x200C || r == 0x200D }

// isWord is \w of a pattern, which has superscripts and fractions of Latin-1.
func isWord(r rune) bool {
	return IsWord(r) && !joins(r) || r < 0x100 && categoriesOf("No").is(r)
}

func isAlphabetic(r rune) bool {
	return (categoriesOf("L") | categoriesOf("Nl")).is(r) || unicode.Is(unicode.Other_Alphabetic, r)
}
