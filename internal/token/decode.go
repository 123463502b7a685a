package token

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder puts tokens together to text.
type decoder struct {
	bytes bool         // tokens are bytes, and that is all there is to it
	steps []decodeStep // else
	join  string       // between tokens, where the files name no decoder

	// The vocabulary is stored as bytes, but the steps want its spelling, which
	// added tokens have none of.
	spelled bool
	added   map[int32]bool
}

// decodeStep changes tokens, or their number.
type decodeStep func(tokens []string) []string

const replacementChar = "\uFFFD"

// Decode returns the text of ids, without special tokens if skipSpecial is
// set. Bytes that form no UTF-8 become U+FFFD. Ids that name no token, which a
// model whose logits are wider than the vocabulary can produce, give nothing.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	raw := t.DecodeBytes(ids, skipSpecial)
	if utf8.Valid(raw) {
		return string(raw)
	}
	text, _ := appendText(make([]byte, 0, len(raw)+16), raw, true)
	return string(text)
}

// DecodeBytes returns the bytes of ids as Decode does, but of a byte-level
// vocabulary as they are.
func (t *Tokenizer) DecodeBytes(ids []int32, skipSpecial bool) []byte {
	if !t.decoder.bytes {
		return []byte(t.decodeSteps(ids, skipSpecial))
	}
	raw := make([]byte, 0, 5*len(ids))
	for _, id := range ids {
		if t.shows(id, skipSpecial) {
			raw = append(raw, t.bytesOf(id)...)
		}
	}
	return raw
}

// shows reports whether id names a token that is to be seen.
func (t *Tokenizer) shows(id int32, skipSpecial bool) bool {
	return id >= 0 && int(id) < len(t.end) && !(skipSpecial && t.IsSpecial(id)) && t.bytesOf(id) != ""
}

func (t *Tokenizer) decodeSteps(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if !t.shows(id, skipSpecial) {
			continue
		}
		s := t.bytesOf(id)
		if t.decoder.spelled && !t.decoder.added[id] {
			s = spell(s)
		}
		tokens = append(tokens, s)
	}
	for _, step := range t.decoder.steps {
		tokens = step(tokens)
	}
	return strings.Join(tokens, t.decoder.join)
}

// each makes a step of what happens to single tokens.
func eachToken(f func(token string) string) decodeStep {
	return func(tokens []string) []string {
		for i := range tokens {
			tokens[i] = f(tokens[i])
		}
		return tokens
	}
}

// fuse makes one token of all.
func fuse(tokens []string) []string { return []string{strings.Join(tokens, "")} }

// decodeByteLevel writes the bytes that tokens spell.
func decodeByteLevel(tokens []string) []string {
	var raw []byte
	for _, s := range tokens {
		raw = appendSpelled(raw, s)
	}
	text, _ := appendText(nil, raw, true)
	return []string{string(text)}
}

// byteToken returns the byte that a token such as <0x0A> stands for.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(v), err == nil
}

// byteFallback writes the text of runs of byte tokens. A run that is not UTF-8
// as a whole gives one U+FFFD for each of its bytes.
func byteFallback(tokens []string) []string {
	out := tokens[:0]
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			out = append(out, strings.Repeat(replacementChar, len(run)))
		}
		run = run[:0]
	}
	for _, s := range tokens {
		if b, ok := byteToken(s); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, s)
	}
	flush()
	return out
}

// decodeSpaces writes spaces for sign but in the tokens that are bare, where
// encoding put it: the first or the last of n.
func decodeSpaces(sign string, bare func(i, n int) bool) decodeStep {
	return func(tokens []string) []string {
		for i, s := range tokens {
			space := " "
			if bare(i, len(tokens)) {
				space = ""
			}
			tokens[i] = strings.ReplaceAll(s, sign, space)
		}
		return tokens
	}
}

// decodeStrip cuts up to start and stop characters off each token's ends.
func decodeStrip(content string, start, stop int) decodeStep {
	return eachToken(func(s string) string {
		for i := 0; i < start && strings.HasPrefix(s, content) && content != ""; i++ {
			s = s[len(content):]
		}
		for i := 0; i < stop && strings.HasSuffix(s, content) && content != ""; i++ {
			s = s[:len(s)-len(content)]
		}
		return s
	})
}

// StreamDecoder decodes ids one by one, as they are generated. What Push and
// Flush return, put together, is what Decode returns for all the ids, and each
// part is valid UTF-8: what could be the start of a character waits for its
// end. The one exception is byte fallback: of byte tokens that are no UTF-8,
// Decode spoils the characters before in the same run, which a stream has
// written by then. A decoder is for one stream and one goroutine.
type StreamDecoder struct {
	SkipSpecial bool // leave special tokens out of the text

	t    *Tokenizer
	held []byte // of tokens that end within a character

	// Where steps decode, the last tokens are decoded anew with each: their
	// text may depend on the ones before them.
	ids   []int32
	shown int    // of ids, the ones whose text is written; else how many are held
	text  string // their text
}

// NewDecoder returns a decoder at the start of a text.
func (t *Tokenizer) NewDecoder() *StreamDecoder {
	return &StreamDecoder{t: t}
}

// maxHeld is how many tokens wait at most for the end of a character.
const maxHeld = 32

// Push adds a token and returns the text that is complete with it, which may
// be none.
func (d *StreamDecoder) Push(id int32) string {
	if !d.t.shows(id, d.SkipSpecial) {
		return ""
	}
	if !d.t.decoder.bytes {
		d.ids = append(d.ids, id)
		return d.step(false)
	}
	d.held = append(d.held, d.t.bytesOf(id)...)
	d.shown++
	text, _ := appendText(nil, d.held, true)
	if bytes.HasSuffix(text, []byte(replacementChar)) {
		if d.shown < maxHeld {
			return ""
		}
		var used int
		text, used = appendText(text[:0], d.held, false)
		d.held = append(d.held[:0], d.held[used:]...)
	} else {
		d.held = d.held[:0]
	}
	d.shown = 0
	return string(text)
}

// step returns the text of the tokens that are not written yet, if it is
// complete, and keeps the tokens whose text it returned.
func (d *StreamDecoder) step(final bool) string {
	text := d.t.decodeSteps(d.ids, false)
	waits := strings.HasSuffix(text, replacementChar) && len(d.ids)-d.shown < maxHeld
	if len(text) <= len(d.text) || waits && !final {
		return ""
	}
	more, ok := strings.CutPrefix(text, d.text)
	if !ok { // what is written should have read otherwise
		more = d.t.decodeSteps(d.ids[d.shown:], false)
	}
	if d.shown > 0 {
		d.ids = append(d.ids[:0], d.ids[d.shown:]...)
		text = d.t.decodeSteps(d.ids, false)
	}
	d.shown, d.text = len(d.ids), text
	return more
}

// Flush ends the text: it returns U+FFFD for what is held, if anything is, and
// leaves the decoder at the start of a text.
func (d *StreamDecoder) Flush() string {
	var more string
	if d.t.decoder.bytes {
		text, _ := appendText(nil, d.held, true)
		more = string(text)
	} else {
		more = d.step(true)
	}
	d.held, d.ids, d.shown, d.text = d.held[:0], d.ids[:0], 0, ""
	return more
}
