package token

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// shortPiece is how many symbols at most are merged by scanning all their
// pairs for the lowest rank. Below it a scan beats a heap.
const shortPiece = 64

// maxPiece is the longest stretch of bytes merged at once, so that positions
// fit 32 bits. A longer piece is merged in parts.
const maxPiece = 1 << 30

// noMerge is the outcome of a pair that never merges. It is greater than every
// outcome, so the lowest of several is the merge to do.
const noMerge = math.MaxUint64

// noByte is the id of what the vocabulary lacks.
const noByte int32 = -1

// An outcome packs what a pair merges to: rank<<32 | id.
type outcome = uint64

// pairSlot is a slot of an open-addressed table. An empty slot has noMerge.
type pairSlot struct {
	pair uint64 // left id<<32 | right id
	to   outcome
}

// pairTable maps pairs of ids to outcomes. A lookup takes a third of a
// Go map's time (3.3 against 9.4 ns for OPT), and merging is mostly lookups.
type pairTable struct {
	slots []pairSlot // a power of 2, at most half full
	shift uint8      // 64 - log2(len(slots))
}

func newPairTable(n int) pairTable {
	log := bits.Len(uint(max(2*n, 2) - 1))
	slots := make([]pairSlot, 1<<log)
	for i := range slots {
		slots[i].to = noMerge
	}
	return pairTable{slots: slots, shift: uint8(64 - log)}
}

func pairOf(left, right int32) uint64 {
	return uint64(uint32(left))<<32 | uint64(uint32(right))
}

// slot returns the index of pair's slot, or of the empty one where it belongs.
func (t *pairTable) slot(pair uint64) int {
	// Fibonacci hashing (Knuth, vol. 3, 6.4), the halves folded together first
	// so that the left id reaches the high bits as well as the right one does.
	h := (pair ^ pair>>29) * 0x9E3779B97F4A7C15
	i := int(h >> t.shift)
	for t.slots[i].to != noMerge && t.slots[i].pair != pair {
		i = (i + 1) & (len(t.slots) - 1)
	}
	return i
}

// set records an outcome. As in the reference the last of equal pairs counts.
func (t *pairTable) set(left, right int32, rank int, id int32) {
	pair := pairOf(left, right)
	t.slots[t.slot(pair)] = pairSlot{pair, outcome(rank)<<32 | outcome(uint32(id))}
}

func (t *pairTable) get(left, right int32) outcome {
	return t.slots[t.slot(pairOf(left, right))].to
}

// wordSlot is a slot of the table of whole words. An empty slot has id noByte.
type wordSlot struct {
	tag uint32 // high bits of the hash
	id  int32
}

// wordTable finds tokens by their text.
type wordTable struct {
	*texts
	seed    maphash.Seed
	slots   []wordSlot // a power of 2, at most two thirds full
	longest int        // bytes; longer texts are never in it
}

func newWordTable(t *texts, n int) *wordTable {
	slots := make([]wordSlot, 1<<bits.Len(uint(max(n+n/2, 2)-1)))
	for i := range slots {
		slots[i].id = noByte
	}
	return &wordTable{texts: t, seed: maphash.MakeSeed(), slots: slots}
}

// slot returns the index of word's slot, or of the empty one where it belongs,
// and its tag.
func (t *wordTable) slot(word string) (int, uint32) {
	h := maphash.String(t.seed, word)
	i, tag := int(h)&(len(t.slots)-1), uint32(h>>32)
	for t.slots[i].id != noByte {
		if t.slots[i].tag == tag && t.bytesOf(t.slots[i].id) == word {
			break
		}
		i = (i + 1) & (len(t.slots) - 1)
	}
	return i, tag
}

// find returns the token of a text, or noByte.
func (t *wordTable) find(word string) int32 {
	i, _ := t.slot(word)
	return t.slots[i].id
}

// enter records a token by its text.
func (t *wordTable) enter(id int32) {
	word := t.bytesOf(id)
	i, tag := t.slot(word)
	t.slots[i] = wordSlot{tag, id}
	t.longest = max(t.longest, len(word))
}

// texts are the bytes of all tokens, in the order of their ids.
type texts struct {
	text string
	end  []uint32 // [vocab] where each token's bytes end in text
}

// bytesOf returns the bytes of a token whose id is known to be in range.
func (t *texts) bytesOf(id int32) string {
	start := uint32(0)
	if id > 0 {
		start = t.end[id-1]
	}
	return t.text[start:t.end[id]]
}

// scratch is what encoding works in: one per text, so that a short piece costs
// no clearing and a long one no allocation after the first.
type scratch struct {
	symbols []symbol
	id      [shortPiece]int32
	to      [shortPiece]outcome // to[i]: of the pair i, i+1
	heap    minHeap
	best    []bestPath // of a Unigram model
}

// symbol is a part of a piece that merging takes for one, in a list in the
// order of the text.
type symbol struct {
	to         outcome // of the pair with next; noMerge for a symbol merged away
	id         int32
	prev, next int32  // -1 at the ends
	from, end  uint32 // its text in the piece; none for what stands for other text
}

// bpe merges pairs of symbols, lowest rank first, leftmost first within a rank
// (Sennrich et al. 2016, arXiv:1508.07909). Symbols begin as bytes or
// characters.
type bpe struct {
	words   *wordTable
	whole   bool // a piece that words has is one token, whatever the merges
	pairs   pairTable
	unk     int32 // for symbols that the vocabulary lacks; none: they are left out
	fuseUnk bool  // several such symbols are one unk

	bytes    bool       // symbols begin as bytes
	byteID   [256]int32 // the token of each byte, or noByte
	allBytes bool       // symbols begin as bytes, and each has a token

	chars          map[rune]int32
	prefix, suffix string      // of characters that do not begin, that end a piece
	fallback       *[256]int32 // the tokens of the bytes of other characters; nil for unk
	boundary       string      // no merge crosses the place before it; "": none known

	byText bool     // SentencePiece: any pair whose text is a token merges,
	ranks  []uint32 // by this rank of the token
}

// encode appends the ids of piece.
func (m *bpe) encode(s *scratch, dst []int32, piece string) []int32 {
	for m.boundary != "" && len(piece) > len(m.boundary) {
		// The run of boundaries that a word begins with stays with the word.
		start := len(piece) - len(strings.TrimLeft(piece, m.boundary))
		n := strings.Index(piece[start:], m.boundary)
		if n < 0 {
			break
		}
		dst = m.merge(s, dst, piece[:start+n])
		piece = piece[start+n:]
	}
	return m.merge(s, dst, piece)
}

func (m *bpe) merge(s *scratch, dst []int32, piece string) []int32 {
	if m.whole && len(piece) <= m.words.longest {
		if id := m.words.find(piece); id != noByte {
			return append(dst, id)
		}
	}
	if m.allBytes && len(piece) <= shortPiece {
		for i := range len(piece) {
			s.id[i] = m.byteID[piece[i]]
		}
		return m.mergeShort(s, dst, len(piece))
	}
	s.symbols = s.symbols[:0]
	if m.bytes {
		m.addBytes(s, piece)
	} else {
		m.addChars(s, piece)
	}
	if len(s.symbols) <= shortPiece && !m.byText {
		for i := range s.symbols {
			s.id[i] = s.symbols[i].id
		}
		return m.mergeShort(s, dst, len(s.symbols))
	}
	return m.mergeLong(s, dst, piece)
}

// addBytes adds the symbols of a piece's bytes where some have no token.
func (m *bpe) addBytes(s *scratch, piece string) {
	for i := range len(piece) {
		id := m.byteID[piece[i]]
		if id == noByte {
			if id = m.unk; id == none || m.fuseUnk && i > 0 && m.byteID[piece[i-1]] == noByte {
				continue
			}
		}
		s.symbols = append(s.symbols, symbol{id: id})
	}
}

// addChars adds the symbols of a piece's characters.
func (m *bpe) addChars(s *scratch, piece string) {
	unks := 0 // not added yet: a byte's token goes before them, as in the reference
	add := func(id int32, from, end int) {
		s.symbols = append(s.symbols, symbol{id: id, from: uint32(from), end: uint32(end)})
	}
	flush := func() {
		for ; unks > 0; unks-- {
			add(m.unk, 0, 0)
		}
	}
	for i, r := range piece {
		end := i + runeLen(piece[i:])
		id, ok := m.char(piece, i, end, r)
		switch {
		case ok:
			flush()
			add(id, i, end)
		case m.fallback != nil:
			for _, b := range []byte(piece[i:end]) {
				add(m.fallback[b], 0, 0)
			}
		case m.unk != none && (unks == 0 || !m.fuseUnk):
			unks++
		}
	}
	flush()
}

// char returns the token of the character at piece[i:end].
func (m *bpe) char(piece string, i, end int, r rune) (int32, bool) {
	if m.prefix == "" && m.suffix == "" {
		if r == utf8.RuneError && end == i+1 {
			return 0, false // a stray byte
		}
		id, ok := m.chars[r]
		return id, ok
	}
	text := piece[i:end]
	if i > 0 {
		text = m.prefix + text
	}
	if end == len(piece) {
		text += m.suffix
	}
	id := m.words.find(text)
	return id, id != noByte
}

// mergeShort merges the first n symbols of s.id in O(n²) time and without
// allocating.
func (m *bpe) mergeShort(s *scratch, dst []int32, n int) []int32 {
	id, to := &s.id, &s.to
	for i := range n - 1 {
		to[i] = m.pairs.get(id[i], id[i+1])
	}
	for n > 1 {
		best, at := outcome(noMerge), 0
		for i, o := range to[:n-1] {
			if o < best {
				best, at = o, i
			}
		}
		if best == noMerge {
			break
		}
		id[at] = int32(uint32(best))
		copy(id[at+1:n-1], id[at+2:n])
		copy(to[at:n-2], to[at+1:n-1])
		n--
		if at > 0 {
			to[at-1] = m.pairs.get(id[at-1], id[at])
		}
		if at+1 < n {
			to[at] = m.pairs.get(id[at], id[at+1])
		}
	}
	return append(dst, id[:n]...)
}

// mergeLong merges in O(n log n) time: a heap of rank<<32 | position finds the
// next merge. Entries are never removed early; one whose rank is no longer its
// position's is stale and skipped.
func (m *bpe) mergeLong(s *scratch, dst []int32, piece string) []int32 {
	list := s.symbols
	if len(list) == 0 {
		return dst
	}
	for i := range list {
		list[i].to, list[i].prev, list[i].next = noMerge, int32(i-1), int32(i+1)
	}
	list[len(list)-1].next = -1
	heap := slices.Grow(s.heap[:0], len(list))
	for i := range list[:len(list)-1] {
		list[i].to = m.outcome(piece, &list[i], &list[i+1])
		heap = heap.add(list[i].to, i)
	}
	heap.init()
	for len(heap) > 0 {
		var top uint64
		top, heap = heap.pop()
		at := int32(uint32(top))
		left := &list[at]
		if left.to == noMerge || left.to>>32 != top>>32 {
			continue
		}
		right := &list[left.next]
		left.id = int32(uint32(left.to))
		left.next, left.end = right.next, right.end
		left.to, right.to = noMerge, noMerge
		if left.next >= 0 {
			list[left.next].prev = at
			heap = m.queue(list, heap, piece, at)
		}
		if left.prev >= 0 {
			heap = m.queue(list, heap, piece, left.prev)
		}
	}
	s.heap = heap
	for i := int32(0); i >= 0; i = list[i].next {
		dst = append(dst, list[i].id)
	}
	return dst
}

// outcome returns what two neighbours merge to.
func (m *bpe) outcome(piece string, left, right *symbol) outcome {
	if !m.byText {
		return m.pairs.get(left.id, right.id)
	}
	if left.end == left.from || right.end == right.from || int(right.end-left.from) > m.words.longest {
		return noMerge
	}
	id := m.words.find(piece[left.from:right.end])
	if id == noByte {
		return noMerge
	}
	return outcome(m.ranks[id])<<32 | outcome(uint32(id))
}

// queue looks up the pair at a symbol, one of which changed, and queues it.
func (m *bpe) queue(list []symbol, heap minHeap, piece string, at int32) minHeap {
	n := &list[at]
	n.to = m.outcome(piece, n, &list[n.next])
	if n.to == noMerge {
		return heap
	}
	heap = heap.add(n.to, int(at))
	heap.up(len(heap) - 1)
	return heap
}

// minHeap is a binary heap of rank<<32 | position. container/heap would box
// every entry.
type minHeap []uint64

// add appends an entry without restoring the order; nothing for noMerge.
func (h minHeap) add(to outcome, at int) minHeap {
	if to == noMerge {
		return h
	}
	return append(h, to>>32<<32|uint64(at))
}

func (h minHeap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h minHeap) pop() (uint64, minHeap) {
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	h.down(0)
	return top, h
}

func (h minHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= h[i] {
			return
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

func (h minHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
