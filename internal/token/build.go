package token

import (
	"fmt"
	"slices"
	"strings"
)

// maxGaps bounds how many ids below the largest may name no token, so that a
// few bytes of a file cannot ask for tables of gigabytes.
const maxGaps = 1 << 16

// builder gathers what the files say, then makes the tables.
type builder struct {
	vocab  map[string]int32 // by the spelling in the files
	merges []merge          // in the order of their ranks
	added  []addedDecl      // each text once; special ones marked
	at     map[string]int   // where in added a text is

	joined []byte // what addMerge looks up

	roles roles

	// What tokenizer.json alone can say.
	complete bool   // it was there, so it states all there is to encoding
	bos      string // its template begins every text with this token
	unk      string // its model's unk_token
	addsBOS  bool
}

// merge is the ids of a pair and of what it merges to.
type merge struct{ left, right, id int32 }

// declare takes over what the files beside the model say, and fills in what
// none says from the vocabulary.
func (b *builder) declare(d declarations) error {
	for _, a := range d.added {
		if err := b.addToken(a); err != nil {
			return err
		}
	}
	anySpecial := slices.ContainsFunc(b.added, func(a addedDecl) bool { return a.special })
	for _, r := range d.roles.all() {
		anySpecial = anySpecial || r.text != ""
	}
	b.fillRoles(&d.roles, anySpecial)
	for _, r := range d.roles.all() {
		if r.text == "" {
			continue
		}
		r.special = true
		if err := b.addToken(addedDecl{*r, b.idFor(r.text), specialFile}); err != nil {
			return err
		}
	}
	b.setRoles(&d.roles)
	switch {
	case d.addBOS != nil:
		b.addsBOS = b.addsBOS || *d.addBOS
	case !b.complete:
		b.addsBOS = d.roles.BOS.text == "</s>"
	}
	return nil
}

// fillRoles gives roles that no file states to the tokens that tokenizer.json
// or else the vocabulary's family uses for them.
func (b *builder) fillRoles(r *roleDecls, anySpecial bool) {
	fill := func(d *tokenDecl, text string) {
		if !d.stated && d.text == "" && b.has(text) {
			d.text = text
		}
	}
	fill(&r.BOS, b.bos)
	fill(&r.Unk, b.unk)
	family := "<|endoftext|>"
	if b.has("</s>") {
		family = "</s>"
	}
	for _, d := range []*tokenDecl{&r.BOS, &r.EOS, &r.Unk} {
		fill(d, family)
	}
	if anySpecial || family != "</s>" {
		return
	}
	fill(&r.Pad, "<pad>")
	fill(&r.Mask, "<mask>")
	for _, text := range []string{"<s>", "<unk>"} {
		if b.has(text) {
			r.Additional = append(r.Additional, tokenDecl{text: text})
		}
	}
}

func (b *builder) setRoles(r *roleDecls) {
	id := func(d tokenDecl) int32 {
		if d.text == "" {
			return none
		}
		return b.idFor(d.text)
	}
	b.roles = roles{bos: id(r.BOS), eos: id(r.EOS), unk: id(r.Unk), pad: id(r.Pad)}
}

// has reports whether any file gives text an id.
func (b *builder) has(text string) bool {
	_, ok := b.known(text)
	return ok
}

// known returns the id that a file gives text.
func (b *builder) known(text string) (int32, bool) {
	if i, ok := b.at[text]; ok {
		return b.added[i].id, true
	}
	id, ok := b.vocab[text]
	return id, ok
}

// idFor returns the id of a token: the next free one, as in the reference, if
// no file gives it one.
func (b *builder) idFor(text string) int32 {
	if id, ok := b.known(text); ok {
		return id
	}
	next := int32(0)
	for _, id := range b.vocab {
		next = max(next, id+1)
	}
	for _, a := range b.added {
		next = max(next, a.id+1)
	}
	return next
}

// addToken adds a token to look for in text. A second declaration of one text
// can make it special; how it strips stays as the first says.
func (b *builder) addToken(a addedDecl) error {
	if a.text == "" {
		return fmt.Errorf("%s: got an added token without text for id %d, want some", a.file, a.id)
	}
	if id, ok := b.known(a.text); ok && id != a.id {
		return fmt.Errorf("%s: token %q: got id %d, want %d as declared before", a.file, a.text, a.id, id)
	}
	if i, ok := b.at[a.text]; ok {
		b.added[i].special = b.added[i].special || a.special
		return nil
	}
	b.at[a.text] = len(b.added)
	b.added = append(b.added, a)
	return nil
}

// build makes the tables.
func (b *builder) build() (*Tokenizer, error) {
	spelled, err := b.byID()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{roles: b.roles, addsBOS: b.addsBOS}
	t.setText(spelled, b.added)
	t.special = make([]uint64, (len(t.end)+63)/64)
	found := make([]addedToken, len(b.added))
	for i, a := range b.added {
		found[i] = addedToken{strings.Clone(a.text), a.id, a.lstrip, a.rstrip, a.singleWord}
		if a.special {
			t.special[a.id/64] |= 1 << (a.id % 64)
		}
	}
	t.added = newAddedSet(found)
	t.merger.unk = b.roles.unk
	for i := range t.byteID {
		id, ok := b.vocab[string(byteRune(byte(i)))]
		if !ok {
			id = noByte
			if b.roles.unk == none {
				return nil, fmt.Errorf("got a vocabulary without byte %#02x and without unk_token, want either: is it byte-level?", i)
			}
		}
		t.byteID[i] = id
	}
	t.pairs = newPairTable(len(b.merges))
	for rank, m := range b.merges {
		t.pairs.set(m.left, m.right, rank, m.id)
	}
	t.setWords(b.merges)
	return t, nil
}

// byID returns the spelling of each id, "" for ids that name no token.
func (b *builder) byID() ([]string, error) {
	size, count := int64(0), int64(len(b.vocab))
	for _, id := range b.vocab {
		size = max(size, int64(id)+1)
	}
	for _, a := range b.added {
		size = max(size, int64(a.id)+1)
		if _, ok := b.vocab[a.text]; !ok {
			count++
		}
	}
	if size > count+maxGaps {
		return nil, fmt.Errorf("got id %d with %d tokens, want at most %d unused ids", size-1, count, maxGaps)
	}
	spelled := make([]string, size)
	set := func(token string, id int32) error {
		if was := spelled[id]; was != "" && was != token {
			return fmt.Errorf("got id %d for both %q and %q, want one token an id", id, min(was, token), max(was, token))
		}
		spelled[id] = token
		return nil
	}
	for token, id := range b.vocab {
		if err := set(token, id); err != nil {
			return nil, err
		}
	}
	for _, a := range b.added {
		if err := set(a.text, a.id); err != nil {
			return nil, fmt.Errorf("%s: %w", a.file, err)
		}
	}
	return spelled, nil
}

// setText stores the bytes of all tokens. An added token is its own text, the
// others are spelled in GPT-2's way.
func (t *Tokenizer) setText(spelled []string, added []addedDecl) {
	own := make(map[int32]bool, len(added))
	for _, a := range added {
		own[a.id] = true
	}
	size := 0
	for _, token := range spelled {
		size += len(token) // at least its bytes
	}
	text := make([]byte, 0, size)
	t.end = make([]uint32, len(spelled))
	for id, token := range spelled {
		if own[int32(id)] {
			text = append(text, token...)
		} else {
			text = appendSpelled(text, token)
		}
		t.end[id] = uint32(len(text))
	}
	t.text = string(text)
}

// setWords enters every token that its own bytes encode to. A token that other
// merges get in the way of, or that no merge makes, is left out: the table is
// only ever a shorter way to what merging gives.
func (t *Tokenizer) setWords(merges []merge) {
	t.words = newWordTable(len(merges) + 256)
	var s scratch
	var ids [shortPiece]int32
	enter := func(id int32) {
		word := t.bytesOf(id)
		if len(word) > shortPiece {
			return
		}
		if got := t.mergeShort(&s, ids[:0], word); len(got) != 1 || got[0] != id {
			return
		}
		i, tag := t.wordSlot(word)
		t.words.slots[i] = wordSlot{tag, id}
		t.words.longest = max(t.words.longest, len(word))
	}
	for _, id := range t.byteID {
		if id != noByte {
			enter(id)
		}
	}
	for _, m := range merges {
		enter(m.id)
	}
}
