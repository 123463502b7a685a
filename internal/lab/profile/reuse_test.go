package profile

import (
	"testing"

	"pgregory.net/rapid"
)

// Reuse agrees with sets of Go maps.
func TestReuseAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySets(t, 70, 40)
		window := rapid.IntRange(1, 45).Draw(t, "window")
		var fresh, pairs float64
		union, single := map[int]float64{}, map[int]float64{}
		for i := range s.len() {
			if i%window > 0 {
				pairs++
				before := s.members(i - 1)
				for id := range s.members(i) {
					if !before[id] {
						fresh++
					}
				}
			}
			for _, n := range []int{5, 10} {
				if i%window < n-1 {
					continue
				}
				all := map[int32]bool{}
				for back := range n {
					for id := range s.members(i - back) {
						all[id] = true
					}
				}
				union[n] += float64(len(all))
				single[n] += float64(len(s.members(i)))
			}
		}
		got, ok := s.reuse(window)
		if ok != (single[10] > 0) {
			t.Fatalf("got ok %v, with sets of %v neurons after nine others", ok, single[10])
		}
		want := Reuse{fresh / pairs, union[5] / single[5], union[10] / single[10]}
		if ok && got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
