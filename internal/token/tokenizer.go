package token

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// none is the id of a role that no token has.
const none int32 = -1

// Tokenizer encodes and decodes. Its methods may be called from any number of
// goroutines, and what it returns for a text is always the same.
type Tokenizer struct {
	*texts
	special []uint64 // [vocab/64] bit set of special ids

	// The pipeline, in its order.
	raw        addedSet // added tokens that the text itself spells
	normalize  []normalizer
	normalized addedSet // added tokens that the normalized text spells
	split      []splitter
	model      *bpe
	frame      frame
	decoder    decoder

	roles roles
	names map[string]string // the tokens of roles, such as eos_token
	chat  map[string]string // chat templates by name
}

// roles are the ids of the tokens with a part to play, or none.
type roles struct {
	bos, eos, unk, pad int32
	ends               []int32 // of turns and messages, besides eos
}

// frame is what the reference puts around a text: its begin token, mostly.
type frame struct{ before, after []int32 }

// Encode returns the ids of text: with addSpecial between the tokens that the
// reference frames it with or, where it adds none, behind the bos token if
// there is one. Added tokens that text spells are encoded as themselves. Where
// TryEncode gives an error, the part of the text that it is about is encoded
// uncut.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	ids, _ := t.TryEncode(text, addSpecial)
	return ids
}

// TryEncode is Encode with an error where a pattern of the tokenizer's files
// takes more time on this text than any useful one does.
func (t *Tokenizer) TryEncode(text string, addSpecial bool) ([]int32, error) {
	e := encoding{t: t, ids: make([]int32, 0, len(text)/3+8), m: pattern.NewMatcher(len(text))}
	size := len(text)
	if addSpecial {
		e.ids = append(e.ids, t.frame.before...)
		if !t.AddsBOS() && t.roles.bos != none {
			e.ids = append(e.ids, t.roles.bos)
		}
	}
	e.chain(len(t.split))
	for begin := true; text != ""; begin = false {
		part := text[:min(len(text), maxPiece)] // positions fit 32 bits
		t.raw.each(part, func(p addedPart) { e.addRaw(part[p.start:p.end], p.id, begin && p.start == 0) })
		text = text[len(part):]
	}
	if addSpecial {
		e.ids = append(e.ids, t.frame.after...)
	}
	if e.m.Err != nil {
		return e.ids, fmt.Errorf("text of %d bytes: %w", size, e.m.Err)
	}
	return e.ids, nil
}

// encoding is a text on its way to ids.
type encoding struct {
	t    *Tokenizer
	ids  []int32
	s    scratch
	m    *pattern.Matcher
	into func(piece) // the pre-tokenizers, then the model
}

// chain makes into of the last n pre-tokenizers.
func (e *encoding) chain(n int) {
	e.into = func(p piece) { e.ids = e.t.model.encode(&e.s, e.ids, p.text) }
	for i := n - 1; i >= 0; i-- {
		s, next := e.t.split[i], e.into
		e.into = func(p piece) {
			if p.text != "" {
				s.split(e.m, p, next)
			}
		}
	}
}

// addRaw appends the ids of a part of the text.
func (e *encoding) addRaw(text string, id int32, first bool) {
	if id != none {
		e.ids = append(e.ids, id)
		return
	}
	for _, n := range e.t.normalize {
		text = n(e.m, text)
	}
	e.t.normalized.each(text, func(p addedPart) {
		if p.id != none {
			e.ids = append(e.ids, p.id)
			return
		}
		e.into(piece{text[p.start:p.end], first && p.start == 0})
	})
}

// VocabSize returns one more than the largest id, added tokens included. A
// model's logits may be wider: OPT pads its vocabulary of 50 265 to 50 272.
func (t *Tokenizer) VocabSize() int { return len(t.end) }

// Token returns the text of a token as its files spell it or, of a byte-level
// vocabulary, its bytes, which need not be valid UTF-8 by themselves, and
// whether there is such a token.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.end) {
		return "", false
	}
	s := t.bytesOf(id)
	return s, s != ""
}

// IsSpecial reports whether the files declare id special, which is what Decode
// skips when told to. It is false for ids that name no token.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.end) && t.special[id/64]>>(id%64)&1 != 0
}

// BOS returns the id of the token that begins a text, if there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.roles.bos, t.roles.bos != none }

// EOS returns the id of the token that ends a text, if there is one.
func (t *Tokenizer) EOS() (int32, bool) { return t.roles.eos, t.roles.eos != none }

// Ends returns the ids that end a text, a turn or a message: those that the files
// declare, and of a GGUF those known by their text.
func (t *Tokenizer) Ends() []int32 {
	ends := slices.Clone(t.roles.ends)
	if eos, ok := t.EOS(); ok {
		ends = append(ends, eos)
	}
	return ends
}

// Unk returns the id that stands for text the vocabulary lacks, if there is
// one. Byte-level vocabularies rarely lack any.
func (t *Tokenizer) Unk() (int32, bool) { return t.roles.unk, t.roles.unk != none }

// Pad returns the id of the token that fills batches, if there is one.
func (t *Tokenizer) Pad() (int32, bool) { return t.roles.pad, t.roles.pad != none }

// AddsBOS reports whether the reference frames every text with special tokens,
// mostly a bos before it, for this tokenizer: the value of Encode's addSpecial
// that reproduces it.
func (t *Tokenizer) AddsBOS() bool { return len(t.frame.before)+len(t.frame.after) > 0 }

// Roles returns the text of each token that the files give a role, by the name
// of the role there, such as eos_token. Chat templates use these.
func (t *Tokenizer) Roles() map[string]string { return maps.Clone(t.names) }

// ChatTemplate returns the chat template of a name; the one of name "" is what
// the files call default. Files with several have others such as tool_use.
func (t *Tokenizer) ChatTemplate(name string) (string, bool) {
	if name == "" {
		name = "default"
	}
	s, ok := t.chat[name]
	return s, ok
}
