package heap

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Against a sorted list, through whatever an owner does.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Keys
		var all []uint64
		key := rapid.Uint64Range(0, 20)
		change := func(t *rapid.T, restore func(i int), k func(old uint64) uint64) {
			if len(h) == 0 {
				return
			}
			i := rapid.IntRange(0, len(h)-1).Draw(t, "place")
			at := slices.Index(all, h[i])
			h[i] = k(h[i])
			all[at] = h[i]
			restore(i)
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				k := key.Draw(t, "key")
				h.Push(k)
				all = append(all, k)
			},
			"pop": func(t *rapid.T) {
				if len(h) == 0 {
					return
				}
				least := slices.Min(all)
				if got := h.Pop(); got != least {
					t.Fatalf("got %d, want %d", got, least)
				}
				at := slices.Index(all, least)
				all = slices.Delete(all, at, at+1)
			},
			"init": func(t *rapid.T) {
				slices.SortFunc(h, func(a, b uint64) int { return int(b) - int(a) })
				h.Init()
			},
			"fall": func(t *rapid.T) { change(t, h.Up, func(old uint64) uint64 { return old / 2 }) },
			"rise": func(t *rapid.T) { change(t, h.Down, func(old uint64) uint64 { return old + 3 }) },
			"": func(t *rapid.T) {
				if len(h) != len(all) || len(h) > 0 && h[0] != slices.Min(all) {
					t.Fatalf("got %v, want the least of %v first", h, all)
				}
			},
		})
	})
}
