package cache

import (
	"slices"
	"testing"
)

// What was counted before weighs as some thousand tokens at most.
func TestCountsAfter(t *testing.T) {
	past := &Counts{Tokens: 40 * pastTokens, Neurons: [][]uint32{{40 * pastTokens, 20 * pastTokens, 0}}}
	now := &Counts{Tokens: 100, Neurons: [][]uint32{{0, 10, 100}}}
	all := now.After(past)
	if all.Tokens != pastTokens+100 || !slices.Equal(all.Neurons[0], []uint32{pastTokens, pastTokens/2 + 10, 100}) {
		t.Errorf("got %+v, want %d tokens of the past and 100 more", all, pastTokens)
	}
	if first := now.After(nil); first.Tokens != 100 || !slices.Equal(first.Neurons[0], now.Neurons[0]) {
		t.Errorf("without a past: got %+v, want %+v", first, now)
	}
	// Whatever the past, it can be stored and read again.
	for range 100 {
		all = now.After(all)
	}
	s, err := all.Section()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCounts(s, 1, 3); err != nil {
		t.Error(err)
	}
}
