package token

// none is the id of a role that no token has.
const none int32 = -1

// Tokenizer encodes and decodes. It is immutable: methods may be called from
// any number of goroutines. OPT's, with 50 265 tokens, keeps 3.7 MB.
type Tokenizer struct {
	merger
	words wordTable
	added addedSet

	text    string   // the bytes of all tokens, in the order of their ids
	end     []uint32 // [vocab] where each token's bytes end in text
	special []uint64 // [vocab/64] bit set of special ids

	roles   roles
	addsBOS bool
}

// roles are the ids of the tokens with a part to play, or none.
type roles struct{ bos, eos, unk, pad int32 }

// Encode returns the ids of text, after the bos token if addBOS is set and
// there is one. Added tokens that text spells are encoded as themselves.
func (t *Tokenizer) Encode(text string, addBOS bool) []int32 {
	ids := make([]int32, 0, len(text)/3+8)
	if addBOS && t.roles.bos != none {
		ids = append(ids, t.roles.bos)
	}
	var s scratch
	for at := 0; at < len(text); {
		m := t.added.find(text, at)
		ids = t.encodePlain(&s, ids, text[at:m.start])
		if m.id != none {
			ids = append(ids, m.id)
		}
		at = m.end
	}
	return ids
}

// encodePlain appends the ids of text without a look for added tokens.
func (t *Tokenizer) encodePlain(s *scratch, ids []int32, text string) []int32 {
	for len(text) > 0 {
		n := nextPiece(text)
		piece := text[:n]
		text = text[n:]
		if n <= t.words.longest {
			if id := t.word(piece); id != noByte {
				ids = append(ids, id)
				continue
			}
		}
		ids = t.merge(s, ids, piece)
	}
	return ids
}

// word returns the one token that piece encodes to, or noByte.
func (t *Tokenizer) word(piece string) int32 {
	i, _ := t.wordSlot(piece)
	return t.words.slots[i].id
}

// wordSlot returns the index of piece's slot, or of the empty one where it
// belongs, and its tag.
func (t *Tokenizer) wordSlot(piece string) (int, uint32) {
	slots := t.words.slots
	i, tag := t.words.start(piece)
	for slots[i].id != noByte {
		if slots[i].tag == tag && t.bytesOf(slots[i].id) == piece {
			break
		}
		i = (i + 1) & (len(slots) - 1)
	}
	return i, tag
}

// bytesOf returns the bytes of a token whose id is known to be in range.
func (t *Tokenizer) bytesOf(id int32) string {
	start := uint32(0)
	if id > 0 {
		start = t.end[id-1]
	}
	return t.text[start:t.end[id]]
}

// VocabSize returns one more than the largest id, added tokens included. A
// model's logits may be wider: OPT pads its vocabulary of 50 265 to 50 272.
func (t *Tokenizer) VocabSize() int { return len(t.end) }

// Token returns the text of a token as Decode would write its bytes, which
// need not be valid UTF-8 by themselves, and whether there is such a token.
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

// Unk returns the id that stands for bytes the vocabulary lacks, if there is
// one. Byte-level vocabularies rarely lack any.
func (t *Tokenizer) Unk() (int32, bool) { return t.roles.unk, t.roles.unk != none }

// Pad returns the id of the token that fills batches, if there is one.
func (t *Tokenizer) Pad() (int32, bool) { return t.roles.pad, t.roles.pad != none }

// AddsBOS reports whether the reference begins every text with bos for this
// tokenizer: the value of Encode's addBOS that reproduces it.
func (t *Tokenizer) AddsBOS() bool { return t.addsBOS && t.roles.bos != none }
