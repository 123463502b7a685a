package token

import "unicode/utf8"

// GPT-2 spells every byte of a token as one printable character, so that
// vocab.json and merges.txt are text: the 188 bytes that are printable in
// Latin-1 stand for themselves, the other 68, in ascending order, are
// U+0100 and up.

// byteRune returns the character that spells b.
func byteRune(b byte) rune {
	switch r := rune(b); {
	case r >= '!' && r <= '~', r >= 0xA1 && r <= 0xAC, r >= 0xAE:
		return r
	case r <= ' ':
		return 0x100 + r
	case r <= 0xA0:
		return 0x100 + 33 + r - 0x7F
	default: // 0xAD, the soft hyphen
		return 0x143
	}
}

// runeByte returns the byte that r spells, and whether it spells one.
func runeByte(r rune) (byte, bool) {
	switch {
	case r >= '!' && r <= '~', r >= 0xA1 && r <= 0xAC, r >= 0xAE && r <= 0xFF:
		return byte(r), true
	case r >= 0x100 && r <= 0x120:
		return byte(r - 0x100), true
	case r >= 0x121 && r <= 0x142:
		return byte(r - 0x121 + 0x7F), true
	case r == 0x143:
		return 0xAD, true
	}
	return 0, false
}

// appendSpelled appends the bytes that token spells. A token with a character
// that spells no byte stands for its own text.
func appendSpelled(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		b, ok := runeByte(r)
		if !ok {
			return append(dst[:start], token...)
		}
		dst = append(dst, b)
	}
	return dst
}

// appendText appends src to dst with U+FFFD for each maximal ill-formed part,
// and returns how many bytes of src it used. Unless final is set it leaves an
// incomplete character at src's end unused, as later bytes may complete it.
func appendText(dst, src []byte, final bool) ([]byte, int) {
	i := 0
	for i < len(src) {
		if src[i] < utf8.RuneSelf {
			dst = append(dst, src[i])
			i++
			continue
		}
		if r, n := utf8.DecodeRune(src[i:]); r != utf8.RuneError || n > 1 {
			dst = append(dst, src[i:i+n]...)
			i += n
			continue
		}
		if !final && !utf8.FullRune(src[i:]) {
			return dst, i
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
		i += illFormed(src[i:])
	}
	return dst, i
}

// illFormed returns the length of the maximal ill-formed part that src begins
// with: the longest start of a character, at least one byte.
func illFormed(src []byte) int {
	n := 1
	for n < len(src) && n < utf8.UTFMax && !utf8.FullRune(src[:n]) {
		n++
	}
	// src[:n] is the shortest prefix known to be wrong, or all of src. Its last
	// byte broke the character, so it starts the next part.
	if n > 1 && utf8.FullRune(src[:n]) {
		n--
	}
	return n
}

// spell returns text with each byte as the character that spells it.
func spell(text string) string {
	out := make([]byte, 0, len(text)+8)
	for i := range len(text) {
		out = utf8.AppendRune(out, byteRune(text[i]))
	}
	return string(out)
}
