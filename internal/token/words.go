package token

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

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

// enter records a token by its text, of several the first.
func (t *wordTable) enter(id int32) {
	word := t.bytesOf(id)
	i, tag := t.slot(word)
	if was := t.slots[i].id; was == noByte || id < was {
		t.slots[i] = wordSlot{tag, id}
	}
	t.longest = max(t.longest, len(word))
}

// knownWords remembers which tokens their own text encodes to. A token that
// other merges get in the way of, or that no merge makes, is not one of them.
// What it says is the same for all texts, so it only ever is a shorter way to
// what merging gives, and it does not grow.
type knownWords []atomic.Uint32 // two bits a token

const (
	wordWhole  = 1
	wordMerges = 2
)

func newKnownWords(tokens int) knownWords { return make(knownWords, tokens/16+1) }

// state returns wordWhole, wordMerges, or 0 for a token that was never tried.
func (k knownWords) state(id int32) uint32 { return k[id/16].Load() >> (id % 16 * 2) & 3 }

func (k knownWords) set(id int32, whole bool) {
	state := uint32(wordMerges)
	if whole {
		state = wordWhole
	}
	k[id/16].Or(state << (id % 16 * 2))
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
