package token

import "sync/atomic"

// knownWords remembers tokens that their own text was seen to encode to. A token
// that other merges get in the way of, or that no merge makes, is none of them.
// What it says is the same for all texts, so it only ever is a shorter way to
// what merging gives, and it does not grow.
type knownWords []atomic.Uint32 // a bit a token

func newKnownWords(tokens int) knownWords { return make(knownWords, tokens/32+1) }

func (k knownWords) has(id int32) bool { return k[id/32].Load()>>(id%32)&1 != 0 }

func (k knownWords) add(id int32) { k[id/32].Or(1 << (id % 32)) }

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
