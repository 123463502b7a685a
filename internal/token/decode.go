package token

import "unicode/utf8"

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

// DecodeBytes returns the bytes of ids as Decode does, but as they are.
func (t *Tokenizer) DecodeBytes(ids []int32, skipSpecial bool) []byte {
	raw := make([]byte, 0, 5*len(ids))
	for _, id := range ids {
		raw = t.appendToken(raw, id, skipSpecial)
	}
	return raw
}

func (t *Tokenizer) appendToken(dst []byte, id int32, skipSpecial bool) []byte {
	if id < 0 || int(id) >= len(t.end) || skipSpecial && t.IsSpecial(id) {
		return dst
	}
	return append(dst, t.bytesOf(id)...)
}

// StreamDecoder decodes ids one by one, as they are generated. What Push and
// Flush return, put together, is what Decode returns for all the ids, and each
// part is valid UTF-8: the start of a character waits for its end. A decoder
// is for one stream and one goroutine.
type StreamDecoder struct {
	SkipSpecial bool // leave special tokens out of the text

	t    *Tokenizer
	held []byte // at most 3 bytes, the start of a character
}

// NewDecoder returns a decoder at the start of a text.
func (t *Tokenizer) NewDecoder() *StreamDecoder {
	return &StreamDecoder{t: t}
}

// Push adds a token and returns the text that is complete with it, which may
// be none.
func (d *StreamDecoder) Push(id int32) string {
	d.held = d.t.appendToken(d.held, id, d.SkipSpecial)
	text, used := appendText(nil, d.held, false)
	d.held = append(d.held[:0], d.held[used:]...)
	return string(text)
}

// Flush ends the text: it returns U+FFFD for what is held, if anything is, and
// leaves the decoder at the start of a text.
func (d *StreamDecoder) Flush() string {
	text, _ := appendText(nil, d.held, true)
	d.held = d.held[:0]
	return string(text)
}
