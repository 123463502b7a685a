package token

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// maxGaps bounds how many ids below the largest may name no token, so that a
// few bytes of a file cannot ask for tables of gigabytes.
const maxGaps = 1 << 16

// builder gathers what the files say, then makes the tables.
type builder struct {
	vocab  map[string]int32 // by the spelling in the files
	listed []string         // where the file is a list by id, which may have a token twice
	merges []merge          // in the order of their ranks
	added  []addedDecl      // each text once; special ones marked
	at     map[string]int   // where in added a text is
	joined []byte           // what addMerge looks up
	// Texts in merges that are no tokens, with ids from noByte-1 down. Nil: there may
	// be none.
	between map[string]int32

	// The pipeline.
	normalize  []normalizer
	split      []splitter
	growth     int  // how many times as long it can make a text
	byteLevels int  // how many of split are ByteLevel
	bytes      bool // the last of split is the only ByteLevel: the model works on bytes
	frame      frame
	decoder    decoder

	// The model.
	ranks          []uint32 // by id, of a SentencePiece model without merges
	fuseUnk        bool
	byteFallback   bool
	wholeWords     bool
	prefix, suffix string

	complete bool   // tokenizer.json or a GGUF states all there is to encoding
	bos, unk string // as tokenizer.json's template and model name them
	roles    roles
	names    map[string]string
	chat     map[string]string
}

func newBuilder() *builder {
	return &builder{at: map[string]int{}, names: map[string]string{}, growth: 1}
}

// merge is the ids of a pair and of what it merges to.
type merge struct{ left, right, id int32 }

// setSlow sets up what the files without a tokenizer.json leave to the class.
func (b *builder) setSlow(d *declarations) error {
	switch class := strings.TrimSuffix(d.class, "Fast"); class {
	case "", "GPT2Tokenizer":
		return b.setPipeline(pipelineDecls{
			PreTokenizer: &step{Type: "ByteLevel", PrefixSpace: &d.prefixSpace}, Decoder: &step{Type: "ByteLevel"},
		})
	default:
		return fmt.Errorf("tokenizer_class: got %q, want GPT2Tokenizer: other classes cut text in other ways, which only a %s says", d.class, tokenizerFile)
	}
}

// declare takes over what the files beside the model say, and fills in what
// none says from the vocabulary.
func (b *builder) declare(d declarations) error {
	for _, a := range d.added {
		if b.complete { // the ids are the reference library's, as for tokenizer.json's own
			if a.text == "" {
				continue
			}
			a.id = b.idFor(a.text)
		}
		if err := b.addToken(a); err != nil {
			return err
		}
	}
	anySpecial := slices.ContainsFunc(b.added, func(a addedDecl) bool { return a.special })
	for _, r := range d.roles.all() {
		anySpecial = anySpecial || r.text != ""
	}
	stated := d.roles
	b.fillRoles(&d.roles, anySpecial)
	if !b.complete {
		stated = d.roles
	}
	for _, r := range stated.all() {
		if r.text == "" {
			continue
		}
		r.special = true
		if err := b.addToken(addedDecl{*r, b.idFor(r.text), specialFile}); err != nil {
			return err
		}
	}
	b.setRoles(&d.roles)
	b.chat = d.chat
	// A tokenizer.json's post-processor alone says what frames a text.
	if adds := d.roles.BOS.text == "</s>"; !b.complete && b.roles.bos != none {
		if d.addBOS != nil {
			adds = *d.addBOS
		}
		if adds {
			b.frame.before = []int32{b.roles.bos}
		}
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
	id := func(name string, d tokenDecl) int32 {
		if d.text == "" {
			return none
		}
		b.names[name] = d.text
		return b.idFor(d.text)
	}
	b.roles = roles{bos: id("bos_token", r.BOS), eos: id("eos_token", r.EOS), unk: id("unk_token", r.Unk), pad: id("pad_token", r.Pad)}
	id("sep_token", r.Sep)
	id("cls_token", r.CLS)
	id("mask_token", r.Mask)
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

// idFor returns the id of a token: the next free one if no file gives it one.
func (b *builder) idFor(text string) int32 {
	if id, ok := b.known(text); ok {
		return id
	}
	return b.nextID()
}

// nextID returns the id of the next token that the vocabulary lacks. Of a
// tokenizer.json the reference counts its tokens, else it takes the largest
// id.
func (b *builder) nextID() int32 {
	next := int32(len(b.vocab))
	if !b.complete {
		next = 0
		for _, id := range b.vocab {
			next = max(next, id+1)
		}
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
	t := &Tokenizer{
		texts: b.texts(spelled), normalize: b.normalize, split: b.split, frame: b.frame,
		decoder: b.decoder, roles: b.roles, names: b.names, chat: b.chat,
	}
	if slices.Max(slices.Concat(t.frame.before, t.frame.after, []int32{none})) >= int32(len(spelled)) {
		return nil, fmt.Errorf("got special tokens %v and %v around the text, want ids below %d", t.frame.before, t.frame.after, len(spelled))
	}
	t.special = make([]uint64, (len(t.end)+63)/64)
	var raw, normalized []addedToken
	for _, a := range b.added {
		token := addedToken{strings.Clone(a.text), a.id, a.lstrip, a.rstrip, a.singleWord}
		if a.special {
			t.special[a.id/64] |= 1 << (a.id % 64)
		}
		if !a.normalized {
			raw = append(raw, token)
			continue
		}
		if token.text = b.normalizedText(a); token.text != "" {
			normalized = append(normalized, token)
		}
	}
	t.raw, t.normalized = newAddedSet(raw), newAddedSet(normalized)
	t.decoder.bytes = b.bytes && b.decoder.bytes
	if t.decoder.spelled = b.bytes && !b.decoder.bytes; t.decoder.spelled {
		t.decoder.added = make(map[int32]bool, len(b.added))
		for _, a := range b.added {
			t.decoder.added[a.id] = true
		}
	}
	t.model, err = b.bpe(t.texts)
	return t, err
}

// normalizedText returns the text by which an added token is found, and which
// the reference decodes it to.
func (b *builder) normalizedText(a addedDecl) string {
	text := strings.Clone(a.text)
	for _, n := range b.normalize {
		if a.normalized {
			text = n(pattern.NewMatcher(0), text)
		}
	}
	return text
}

// byID returns the spelling of each id, "" for ids that name no token. Where
// the reference takes two tokens for one id, so does this: an added one is
// what the id is decoded to.
func (b *builder) byID() ([]string, error) {
	size, count := int64(len(b.listed)), int64(max(len(b.vocab), len(b.listed)))
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
	copy(spelled, b.listed)
	for token, id := range b.vocab {
		if was := spelled[id]; was != "" && was != token {
			if !b.complete {
				return nil, fmt.Errorf("got id %d for both %q and %q, want one token an id", id, min(was, token), max(was, token))
			}
			token = min(was, token)
		}
		spelled[id] = token
	}
	for _, a := range b.added {
		if was := spelled[a.id]; was != "" && was != a.text && !b.complete {
			return nil, fmt.Errorf("%s: got id %d for both %q and %q, want one token an id", a.file, a.id, min(was, a.text), max(was, a.text))
		}
		spelled[a.id] = a.text
	}
	return spelled, nil
}

// texts stores the text of all tokens: of a model of bytes the bytes that they
// spell in GPT-2's way, but of an added token its own text. Of a model of
// characters it is UTF-8: a GGUF may hold tokens that are not, and each part of
// a stream is text. No text spells such a token.
func (b *builder) texts(spelled []string) *texts {
	own := make(map[int32]bool, len(b.added))
	for _, a := range b.added {
		own[a.id] = true
		spelled[a.id] = b.normalizedText(a)
	}
	size := 0
	for _, token := range spelled {
		size += len(token) // at least its bytes
	}
	text := make([]byte, 0, size)
	t := &texts{end: make([]uint32, len(spelled))}
	for id, token := range spelled {
		switch {
		case !b.bytes:
			text, _ = appendText(text, []byte(token), true)
		case own[int32(id)]:
			text = append(text, token...)
		default:
			text = appendSpelled(text, token)
		}
		t.end[id] = uint32(len(text))
	}
	t.text = string(text)
	return t
}

// unkID returns the id of the model's unk.
func (b *builder) unkID() int32 {
	if !b.complete {
		return b.roles.unk
	}
	if id, ok := b.vocab[b.unk]; ok && b.unk != "" {
		return id
	}
	return none
}

// bpe makes the tables of a model that merges pairs.
func (b *builder) bpe(t *texts) (*bpe, error) {
	m := &bpe{
		unk: b.unkID(), fuseUnk: b.fuseUnk, prefix: b.prefix, suffix: b.suffix,
		bytes: b.bytes, ranks: b.ranks, byText: b.ranks != nil,
	}
	if m.bytes && (b.prefix != "" || b.suffix != "" || b.byteFallback) {
		return nil, fmt.Errorf("model: got byte_fallback %v, continuing_subword_prefix %q, end_of_word_suffix %q beside ByteLevel, want none of these", b.byteFallback, b.prefix, b.suffix)
	}
	m.pairs = make(map[pair]outcome, len(b.merges))
	for rank, p := range b.merges { // as in the reference the last of equal pairs counts
		m.pairs[pairOf(p.left, p.right)] = toMerge(rank, p.id)
	}
	m.between = make([][]int32, len(b.between))
	for text, id := range b.between {
		m.between[noByte-1-id] = b.tokensOf(text)
	}
	m.words, m.whole, m.known = b.allWords(t), b.wholeWords, newKnownWords(len(t.end))
	for word := range m.words {
		m.longest = max(m.longest, len(word))
	}
	if m.bytes {
		return m, b.setBytes(m)
	}
	m.fallback = b.fallback()
	m.chars = map[rune]int32{}
	for token, id := range b.vocab {
		if r, n := utf8.DecodeRuneInString(token); n == len(token) && n > 0 && (r != utf8.RuneError || n > 1) {
			m.chars[r] = id
		}
	}
	b.setBoundary(m, t)
	return m, nil
}

// setBytes sets up a model that works on bytes.
func (b *builder) setBytes(m *bpe) error {
	m.allBytes = true
	for i := range m.byteID {
		id, ok := b.vocab[string(byteRune(byte(i)))]
		if !ok {
			id, m.allBytes = noByte, false
			if m.unk == none && !b.complete {
				return fmt.Errorf("got a vocabulary without byte %#02x and without unk_token, want either: is it byte-level?", i)
			}
		}
		m.byteID[i] = id
	}
	return nil
}

// allWords is the model's vocabulary by its text, of equal texts the first. It
// lacks what an added token replaced, and what may not be merged to.
func (b *builder) allWords(t *texts) map[string]int32 {
	words := make(map[string]int32, len(b.vocab))
	for token, id := range b.vocab {
		if b.bytes {
			token = string(appendSpelled(nil, token))
		}
		text := t.bytesOf(id)
		if text != token || b.ranks != nil && b.ranks[id] == math.MaxUint32 {
			continue
		}
		if first, ok := words[text]; !ok || id < first {
			words[text] = id
		}
	}
	return words
}

// fallback returns the tokens of the 256 bytes, noByte for those that have none,
// and nil without byte fallback.
func (b *builder) fallback() *[256]int32 {
	if !b.byteFallback {
		return nil
	}
	var ids [256]int32
	for i := range ids {
		id, ok := b.vocab[fmt.Sprintf("<0x%02X>", i)]
		if !ok {
			id = noByte
		}
		ids[i] = id
	}
	return &ids
}

// setBoundary finds out behind which characters a merge has the sign that
// stands for spaces. Behind all others words end, and are merged one by one.
func (b *builder) setBoundary(m *bpe, t *texts) {
	if _, ok := b.vocab[spaceSign]; !ok || len(b.between) > 0 || b.wholeWords || b.prefix != "" || b.suffix != "" {
		return
	}
	crossed := []rune(spaceSign)
	cross := func(id int32) {
		text := strings.TrimLeft(t.bytesOf(id), spaceSign)
		for i := strings.Index(text, spaceSign); i > 0 && len(crossed) < maxCrossed; i = strings.Index(text, spaceSign) {
			if before, _ := utf8.DecodeLastRuneInString(text[:i]); !slices.Contains(crossed, before) {
				crossed = append(crossed, before)
			}
			text = strings.TrimLeft(text[i:], spaceSign)
		}
	}
	for id := range m.ranks {
		if m.ranks[id] != math.MaxUint32 {
			cross(int32(id))
		}
	}
	for _, p := range b.merges {
		cross(p.id)
	}
	if len(crossed) < maxCrossed {
		m.boundary, m.crossed = spaceSign, string(crossed)
	}
}

// maxCrossed is how many characters at most are looked for before a boundary.
const maxCrossed = 64

// rank orders ids by descending score; equal scores have equal ranks. What has
// no score takes no part in merges.
func rank(scores []float32) []uint32 {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	ranks := make([]uint32, len(scores))
	next := uint32(0)
	for i, id := range order {
		if i > 0 && scores[id] != scores[order[i-1]] {
			next++
		}
		if ranks[id] = next; scores[id] != scores[id] {
			ranks[id] = math.MaxUint32
		}
	}
	return ranks
}
