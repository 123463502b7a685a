package sample

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyOrdersAsFloat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float32().Draw(t, "a"), rapid.Float32().Draw(t, "b")
		if got, want := cmp.Compare(keyOf(a), keyOf(b)), cmp.Compare(a, b); got != want {
			t.Errorf("keys of %g and %g compare as %d, want %d", a, b, got, want)
		}
	})
	if keyOf(float32(math.Copysign(0, -1))) != keyOf(0) {
		t.Error("the keys of -0 and 0 differ")
	}
}

// Integer weights, so that every sum is exact; targets up to and beyond the
// total, where the answer is the smallest key.
func TestThreshold(t *testing.T) {
	type item struct {
		key    uint32
		weight float64
	}
	var h histogram
	rapid.Check(t, func(t *rapid.T) {
		// Nearby keys share their leading digits.
		key := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(1<<31, 1<<31+3000), rapid.SampledFrom([]uint32{0, 7, math.MaxUint32}))
		items := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) item {
			return item{key.Draw(t, "key"), float64(rapid.IntRange(1, 5).Draw(t, "weight"))}
		}), 1, 60).Draw(t, "items")
		target := float64(rapid.IntRange(1, 150).Draw(t, "target")) / 2

		slices.SortFunc(items, func(a, b item) int { return cmp.Compare(b.key, a.key) })
		var want uint32
		var wantAbove, sum float64
		for i, it := range items {
			if i == 0 || it.key != want {
				if sum >= target {
					break
				}
				want, wantAbove = it.key, sum
			}
			sum += it.weight
		}

		got, above := h.threshold(target, func(h *histogram, d digit, prefix uint32) {
			for _, it := range items {
				if d.follows(it.key, prefix) {
					h[d.of(it.key)] += it.weight
				}
			}
		})
		if got != want || above != wantAbove {
			t.Errorf("got key %#x with %g above, want %#x with %g", got, above, want, wantAbove)
		}
	})
}
