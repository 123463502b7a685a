package sample

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vocab, n := rapid.IntRange(1, 300).Draw(t, "vocab"), rapid.IntRange(0, 100).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		ids := DrawTokens(vocab, n, seed)
		if len(ids) != n || !slices.Equal(ids, DrawTokens(vocab, n, seed)) {
			t.Fatalf("got %d ids, want the same %d each time", len(ids), n)
		}
		for _, id := range ids {
			if int(id) >= vocab || int(id) < min(specialTokens, vocab-1) {
				t.Fatalf("got id %d of %d", id, vocab)
			}
		}
	})
	if slices.Equal(DrawTokens(1000, 50, 1), DrawTokens(1000, 50, 2)) {
		t.Error("two seeds gave the same ids")
	}
}

// The frequencies follow the stated law.
func TestTokensZipf(t *testing.T) {
	const vocab, n = 504, 400_000
	count := make([]float64, vocab)
	for _, id := range DrawTokens(vocab, n, 7) {
		count[id]++
	}
	sum := 0.0
	for r := 1; r <= vocab-specialTokens; r++ {
		sum += 1 / (float64(r) + zipfShift)
	}
	for _, r := range []int{1, 2, 10, 100, 500} {
		want := n / (float64(r) + zipfShift) / sum
		if got := count[specialTokens+r-1]; math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("rank %d: drawn %v times, want about %.0f", r, got, want)
		}
	}
}
