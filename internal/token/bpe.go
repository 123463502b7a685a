package token

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/heap"
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

// pair is two ids: left<<32 | right.
type pair = uint64

func pairOf(left, right int32) pair { return pair(uint32(left))<<32 | pair(uint32(right)) }

// toMerge is the outcome of a merge.
func toMerge(rank int, id int32) outcome { return outcome(rank)<<32 | outcome(uint32(id)) }

// scratch is what encoding works in: one per text, so that a short piece costs
// no clearing and a long one no allocation after the first.
type scratch struct {
	symbols []symbol
	id      [shortPiece]int32
	to      [shortPiece]outcome // to[i]: of the pair i, i+1
	heap    heap.Keys
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
	words   map[string]int32 // the vocabulary
	longest int              // bytes of a word
	whole   bool             // a piece that words has is one token, whatever the merges
	known   knownWords       // else the ones found to be
	pairs   map[pair]outcome
	between [][]int32 // the tokens for the symbol of id noByte-1-i, which is none itself
	unk     int32     // for symbols that the vocabulary lacks; none: they are left out
	fuseUnk bool      // several such symbols are one unk

	bytes    bool       // symbols begin as bytes
	byteID   [256]int32 // the token of each byte, or noByte
	allBytes bool       // symbols begin as bytes, and each has a token

	chars          map[rune]int32
	prefix, suffix string      // of characters that do not begin, that end a piece
	fallback       *[256]int32 // the tokens of the bytes of other characters, or noByte; nil: unk
	boundary       string      // no merge crosses the place before it; "": none known,
	crossed        string      // but where one of these characters is before it

	byText bool     // SentencePiece: any pair whose text is a token merges,
	ranks  []uint32 // by this rank of the token
}

// encode appends the ids of piece.
func (m *bpe) encode(s *scratch, dst []int32, piece string) []int32 {
	for m.boundary != "" {
		n := m.wordEnd(piece)
		if n == len(piece) {
			break
		}
		dst = m.merge(s, dst, piece[:n])
		piece = piece[n:]
	}
	return m.merge(s, dst, piece)
}

// wordEnd returns the first place in piece that no merge crosses, or its end.
func (m *bpe) wordEnd(piece string) int {
	// The run of boundaries that a word begins with stays with the word.
	at := len(piece) - len(strings.TrimLeft(piece, m.boundary))
	for {
		i := strings.Index(piece[at:], m.boundary)
		if i < 0 {
			return len(piece)
		}
		at += i
		before, _ := utf8.DecodeLastRuneInString(piece[:at])
		if _, ok := m.chars[before]; ok && !strings.ContainsRune(m.crossed, before) {
			return at
		}
		at += len(m.boundary)
	}
}

// merge appends the ids of a part of a piece.
func (m *bpe) merge(s *scratch, dst []int32, piece string) []int32 {
	id := m.word(piece)
	if id != noByte && (m.whole || m.known.has(id)) {
		return append(dst, id)
	}
	n := len(dst)
	dst = m.mergeAll(s, dst, piece)
	if id != noByte && len(dst) == n+1 && dst[n] == id {
		m.known.add(id)
	}
	return dst
}

// word returns the token of a text, or noByte.
func (m *bpe) word(text string) int32 {
	if len(text) <= m.longest {
		if id, ok := m.words[text]; ok {
			return id
		}
	}
	return noByte
}

// merged returns what a pair merges to.
func (m *bpe) merged(left, right int32) outcome {
	if to, ok := m.pairs[pairOf(left, right)]; ok {
		return to
	}
	return noMerge
}

// mergeAll merges a piece whatever words has.
func (m *bpe) mergeAll(s *scratch, dst []int32, piece string) []int32 {
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
	unk := false // is not added yet: bytes' tokens go before it, as in the reference
	add := func(id int32, from, end int) {
		s.symbols = append(s.symbols, symbol{id: id, from: uint32(from), end: uint32(end)})
	}
	flush := func() {
		if unk {
			add(m.unk, 0, 0)
		}
		unk = false
	}
	for i, r := range piece {
		end := i + runeLen(piece[i:])
		id, ok := m.char(piece, i, end, r)
		switch {
		case ok:
			flush()
			add(id, i, end)
		case m.fallsBack(piece[i:end]):
			for _, b := range []byte(piece[i:end]) {
				add(m.fallback[b], 0, 0)
			}
		case m.unk != none:
			if !m.fuseUnk {
				flush()
			}
			unk = true
		}
	}
	flush()
}

// fallsBack reports whether a character is encoded by its bytes: all must have
// tokens.
func (m *bpe) fallsBack(char string) bool {
	for i := 0; m.fallback != nil && i < len(char); i++ {
		if m.fallback[char[i]] == noByte {
			return false
		}
	}
	return m.fallback != nil
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
	id := m.word(text)
	return id, id != noByte
}

// mergeShort merges the first n symbols of s.id in O(n²) time and without
// allocating.
func (m *bpe) mergeShort(s *scratch, dst []int32, n int) []int32 {
	id, to := &s.id, &s.to
	for i := range n - 1 {
		to[i] = m.merged(id[i], id[i+1])
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
			to[at-1] = m.merged(id[at-1], id[at])
		}
		if at+1 < n {
			to[at] = m.merged(id[at], id[at+1])
		}
	}
	for _, id := range id[:n] {
		dst = m.append(dst, id)
	}
	return dst
}

// append appends what a symbol ends as.
func (m *bpe) append(dst []int32, id int32) []int32 {
	if id < noByte {
		return append(dst, m.between[noByte-1-id]...)
	}
	return append(dst, id)
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
	queue := &s.heap
	*queue = (*queue)[:0]
	for i := range list[:len(list)-1] {
		m.queue(list, queue, piece, int32(i))
	}
	for len(*queue) > 0 {
		top := queue.Pop()
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
			m.queue(list, queue, piece, at)
		}
		if left.prev >= 0 {
			m.queue(list, queue, piece, left.prev)
		}
	}
	for i := int32(0); i >= 0; i = list[i].next {
		dst = m.append(dst, list[i].id)
	}
	return dst
}

// outcome returns what two neighbours merge to.
func (m *bpe) outcome(piece string, left, right *symbol) outcome {
	if !m.byText {
		return m.merged(left.id, right.id)
	}
	if left.end == left.from || right.end == right.from {
		return noMerge
	}
	id := m.word(piece[left.from:right.end])
	if id == noByte {
		return noMerge
	}
	return toMerge(int(m.ranks[id]), id)
}

// queue looks up the pair at a symbol and queues it.
func (m *bpe) queue(list []symbol, queue *heap.Keys, piece string, at int32) {
	n := &list[at]
	if n.to = m.outcome(piece, n, &list[n.next]); n.to != noMerge {
		queue.Push(n.to>>32<<32 | uint64(at))
	}
}
