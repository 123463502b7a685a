package profile

import (
	"math"
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

// Ranks and their correlation against the definition.
func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		a, b []uint32
		want float64
	}{
		{[]uint32{1, 2, 3, 4}, []uint32{10, 20, 25, 90}, 1},
		{[]uint32{1, 2, 3, 4}, []uint32{9, 3, 2, 0}, -1},
		{[]uint32{1, 2, 3, 4, 5}, []uint32{5, 6, 7, 8, 7}, 0.8207826816681233}, // by scipy.stats.spearmanr
		{[]uint32{7, 7, 7}, []uint32{1, 2, 3}, 0},
	} {
		if got := spearman(c.a, c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v, %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestOverlap(t *testing.T) {
	a := []uint32{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}
	b := []uint32{6, 1, 5, 0, 0, 0, 0, 0, 0, 0}
	got, ok := overlap(a, b, Curve([][]uint32{b}))
	if !ok || got.Jaccard != 1.0/3 || math.Abs(got.Covered-7.0/12) > 1e-12 {
		t.Errorf("got %+v, want a Jaccard of 1/3 and 7/12 covered", got)
	}
	if got, _ := overlap(a, a, Curve([][]uint32{a})); got.Jaccard != 1 || got.Spearman != 1 || got.Covered != 17.0/45 {
		t.Errorf("a text against itself: got %+v, want 1, 1 and 17/45", got)
	}
	for _, c := range [][2][]uint32{{a, make([]uint32, 10)}, {make([]uint32, 10), b}} {
		if got, ok := overlap(c[0], c[1], Curve([][]uint32{c[1]})); ok {
			t.Errorf("got %+v without activations, want none", got)
		}
	}
}
