package token

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer changes a text before it is cut into pieces.
type normalizer func(m *matcher, text string) string

const nfc, nfd, nfkc, nfkd = norm.NFC, norm.NFD, norm.NFKC, norm.NFKD

func spellText(_ *matcher, text string) string { return spell(text) }

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
	return func(_ *matcher, text string) string {
		if isASCII(text) || form.QuickSpanString(text) == len(text) {
			return text
		}
		var out strings.Builder
		for text != "" {
			n := form.NextBoundaryInString(text, true)
			if n <= 0 {
				n = len(text)
			}
			// The library breaks runs of over 30 marks up (Unicode's annex 15,
			// stream-safe text); the reference does not.
			if more := marksEnd(form, text, n); more > n {
				n = more
				out.WriteString(normalizeLong(form, text[:n]))
			} else {
				out.WriteString(form.String(text[:n]))
			}
			text = text[n:]
		}
		return out.String()
	}
}

// marksEnd returns where the characters that combine with the ones before
// text[n:] end.
func marksEnd(form norm.Form, text string, n int) int {
	for n < len(text) {
		p := form.PropertiesString(text[n:])
		if p.CCC() == 0 || p.Size() == 0 {
			break
		}
		n += p.Size()
	}
	return n
}

// normalizeLong normalizes one sequence of any length: decompose, sort the
// marks by class, and compose again for the composed forms.
func normalizeLong(form norm.Form, text string) string {
	apart, composed := form, false
	switch form {
	case norm.NFC:
		apart, composed = norm.NFD, true
	case norm.NFKC:
		apart, composed = norm.NFKD, true
	}
	var runes []rune
	for _, r := range text {
		if p := apart.PropertiesString(string(r)); p.Decomposition() != nil {
			runes = append(runes, []rune(string(p.Decomposition()))...)
		} else {
			runes = append(runes, []rune(apart.String(string(r)))...)
		}
	}
	class := func(r rune) int { return int(apart.PropertiesString(string(r)).CCC()) }
	for from := 0; from < len(runes); {
		to := from + 1
		for to < len(runes) && class(runes[to]) != 0 {
			to++
		}
		start := from
		if class(runes[from]) == 0 {
			start++
		}
		slices.SortStableFunc(runes[start:to], func(a, b rune) int { return class(a) - class(b) })
		from = to
	}
	if !composed || len(runes) == 0 {
		return string(runes)
	}
	out, starter, last := runes[:1:1], 0, 0
	for _, r := range runes[1:] {
		c := class(r)
		if last < c || last == 0 && starter == len(out)-1 {
			if pair := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(pair) == 1 {
				out[starter] = pair[0]
				continue
			}
		}
		if last = c; c == 0 {
			starter = len(out)
		}
		out = append(out, r)
	}
	return string(out)
}

// lowercase changes characters one by one, so a sigma stays one at a word's
// end. The reference's lower case of İ is two characters.
func lowercase(_ *matcher, text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "İ", "i\u0307"))
}

func stripAccents(_ *matcher, text string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf && marks.is(r) {
			return -1
		}
		return r
	}, text)
}

func strip(left, right bool) normalizer {
	return func(_ *matcher, text string) string {
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
	return func(_ *matcher, text string) string {
		if text == "" {
			return text
		}
		return prefix + text
	}
}

// replace writes content for every match of by.
func replace(by finder, content string) normalizer {
	if s, ok := by.(stringFinder); ok && s != "" {
		return func(_ *matcher, text string) string { return strings.ReplaceAll(text, string(s), content) }
	}
	return func(m *matcher, text string) string {
		var out strings.Builder
		at := 0
		eachMatch(by, m, text, func(start, end int) {
			out.WriteString(text[at:start])
			out.WriteString(content)
			at = end
		})
		out.WriteString(text[at:])
		return out.String()
	}
}

// nmt is the normalizer of SentencePiece's nmt rules.
func nmt(_ *matcher, text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0x0B, r >= 0x0E && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return -1
		case r == 9, r == 10, r == 12, r == 13, r == 0x1680, r >= 0x200B && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	}, text)
}

// charsMap is SentencePiece's compiled table of replacements: a double array
// (Aoe 1989, as Darts lays it out) of what to replace, and the texts to write.
type charsMap struct {
	units []uint32
	texts string
}

func newCharsMap(encoded string) (*charsMap, error) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	if len(data) < 4 {
		return nil, errors.New("got a precompiled_charsmap without a size")
	}
	size := binary.LittleEndian.Uint32(data)
	if data = data[4:]; uint64(size) > uint64(len(data)) || size%4 != 0 {
		return nil, errors.New("got a precompiled_charsmap that is shorter than it says")
	}
	c := &charsMap{units: make([]uint32, size/4), texts: string(data[size:])}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return c, nil
}

// lookup returns what is written for the whole of text, if the table has it
// or a beginning of it.
func (c *charsMap) lookup(text string) (string, bool) {
	if len(c.units) == 0 {
		return "", false
	}
	offset := func(u uint32) uint32 { return (u >> 10) << ((u & (1 << 9)) >> 6) }
	at := offset(c.units[0])
	for i := range len(text) {
		at ^= uint32(text[i])
		if text[i] == 0 || int64(at) >= int64(len(c.units)) {
			return "", false
		}
		unit := c.units[at]
		if unit&(1<<31|0xFF) != uint32(text[i]) {
			return "", false
		}
		if at ^= offset(unit); unit>>8&1 == 1 && int64(at) < int64(len(c.units)) {
			from := int(c.units[at] & (1<<31 - 1))
			if from > len(c.texts) {
				return "", false
			}
			to := strings.IndexByte(c.texts[from:], 0)
			if to < 0 {
				to = len(c.texts) - from
			}
			return c.texts[from : from+to], true
		}
	}
	return "", false
}

// normalize replaces characters with their marks as one where the table has
// them so, else one by one.
func (c *charsMap) normalize(_ *matcher, text string) string {
	var out strings.Builder
	for text != "" {
		n := marksEnd(norm.NFC, text, runeLen(text))
		if n < 6 {
			if s, ok := c.lookup(text[:n]); ok {
				out.WriteString(s)
				text = text[n:]
				continue
			}
		}
		for i := 0; i < n; {
			size := runeLen(text[i:])
			if s, ok := c.lookup(text[i : i+size]); ok {
				out.WriteString(s)
			} else {
				out.WriteString(text[i : i+size])
			}
			i += size
		}
		text = text[n:]
	}
	return out.String()
}

// bertNormalizer is BERT's cleaning, as far as each part is asked for.
func bertNormalizer(clean, chinese, accents, lower bool) normalizer {
	return func(m *matcher, text string) string {
		if clean {
			text = strings.Map(func(r rune) rune {
				switch {
				case r == '\t', r == '\n', r == '\r', unicode.IsSpace(r):
					return ' '
				case r == 0, r == 0xFFFD, (categoriesOf("C") &^ categoriesOf("Cn")).is(r):
					return -1
				}
				return r
			}, text)
		}
		if chinese {
			var out strings.Builder
			for _, r := range text {
				if isChinese(r) {
					out.WriteString(" " + string(r) + " ")
				} else {
					out.WriteRune(r)
				}
			}
			text = out.String()
		}
		if accents {
			text = stripAccents(m, unicodeForm(norm.NFD)(m, text))
		}
		if lower {
			text = lowercase(m, text)
		}
		return text
	}
}

func isChinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF ||
		r >= 0x2A700 && r <= 0x2B73F || r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}
