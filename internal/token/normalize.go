package token

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// normalizer changes a text before it is cut into pieces.
type normalizer func(m *pattern.Matcher, text string) string

const nfc, nfd, nfkc, nfkd = norm.NFC, norm.NFD, norm.NFKC, norm.NFKD

func spellText(_ *pattern.Matcher, text string) string { return spell(text) }

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unicodeForm is NFC, NFD, NFKC or NFKD.
func unicodeForm(form norm.Form) normalizer {
	return func(_ *pattern.Matcher, text string) string {
		if isASCII(text) {
			return text
		}
		n := form.QuickSpanString(text)
		if n == len(text) {
			return text
		}
		// The library breaks runs of over 30 marks up (Unicode's annex 15,
		// stream-safe text), which the reference does not. So it normalizes
		// single characters and pairs alone here.
		return text[:n] + compose(form, decompose(form, text[n:]))
	}
}

// markClass is the combining class of r, by which marks are sorted.
func markClass(r rune) int { return int(norm.NFD.PropertiesString(string(r)).CCC()) }

// decompose takes characters apart and sorts the marks behind each.
func decompose(form norm.Form, text string) []rune {
	apart := norm.NFD
	if form == norm.NFKC || form == norm.NFKD {
		apart = norm.NFKD
	}
	runes := make([]rune, 0, len(text))
	for i, r := range text {
		if n := runeLen(text[i:]); r < utf8.RuneSelf {
			runes = append(runes, r)
		} else {
			runes = append(runes, []rune(apart.String(text[i:i+n]))...)
		}
	}
	for from := 0; from < len(runes); from++ {
		to := from
		for to < len(runes) && runes[to] >= utf8.RuneSelf && markClass(runes[to]) != 0 {
			to++
		}
		slices.SortStableFunc(runes[from:to], func(a, b rune) int { return markClass(a) - markClass(b) })
		from = max(from, to-1)
	}
	return runes
}

// compose puts characters and their marks together, for the forms that do.
func compose(form norm.Form, runes []rune) string {
	if form == norm.NFD || form == norm.NFKD || len(runes) == 0 {
		return string(runes)
	}
	out, starter, last := runes[:1:1], 0, 0
	for _, r := range runes[1:] {
		class := 0
		if r >= utf8.RuneSelf {
			p := norm.NFC.PropertiesString(string(r))
			class = int(p.CCC())
			if !p.BoundaryBefore() && (last < class || last == 0 && starter == len(out)-1) {
				if pair := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(pair) == 1 {
					out[starter] = pair[0]
					continue
				}
			}
		}
		if last = class; class == 0 {
			starter = len(out)
		}
		out = append(out, r)
	}
	return string(out)
}

// lowercase changes characters one by one, so a sigma stays one at a word's
// end. The reference's lower case of İ is two characters.
func lowercase(_ *pattern.Matcher, text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "İ", "i\u0307"))
}

func strip(left, right bool) normalizer {
	return func(_ *pattern.Matcher, text string) string {
		if left {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if right {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		return text
	}
}

func prepend(prefix string) normalizer {
	return func(_ *pattern.Matcher, text string) string {
		if text == "" {
			return text
		}
		return prefix + text
	}
}

// replace writes content for every match of by.
func replace(by *pattern.Pattern, content string) normalizer {
	return func(m *pattern.Matcher, text string) string { return by.Replace(m, text, content) }
}
